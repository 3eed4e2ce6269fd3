"""The schema's history leads to the models, from any directory and out of a wheel."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from results_jobs import by_attack, jobs, write_diagnose, write_evaluate, write_train
from sqlalchemy import Column, Integer, MetaData, NullPool, Table, create_engine, inspect, select, text

from results.directory import read_job
from results.errors import HarnessError
from results.migrations import HEAD
from results.migrations.upgrade import config, known_revisions
from results.queries import history, long_form
from results.schema import Base
from results.store import Store

REPOSITORY = Path(__file__).parents[2]
RELEASED = sorted(known_revisions())
shared = pytest.mark.parametrize("place", ["file", "postgres"], indirect=True)


def engine_at(place):
    return create_engine(place if "://" in str(place) else f"sqlite:///{place}", poolclass=NullPool)


def differences(place, metadata):
    engine = engine_at(place)
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


def migrate(place, direction, revision):
    engine = engine_at(place)
    with engine.begin() as connection:
        settings = config()
        settings.attributes["connection"] = connection
        direction(settings, revision)


def written_at(place, revision, directories):
    """A database as the release with this schema left it: its tables, with what they hold of these jobs."""
    migrate(place, command.upgrade, revision)
    engine, tables = engine_at(place), MetaData()
    tables.reflect(engine)
    missing = {"warnings": []}  # what old tables must hold and new ones have not
    with engine.begin() as connection, Store.open("sqlite://").reading() as session:
        for directory in directories:
            session.add(read_job(directory))
        session.flush()
        for table in Base.metadata.sorted_tables:
            if table.name in tables.tables:
                old = tables.tables[table.name]
                rows = [{**missing, **row} for row in session.execute(select(table)).mappings()]
                kept = [{name: row[name] for name in old.columns.keys() & row.keys()} for row in rows]
                if kept:
                    connection.execute(old.insert(), kept)


@shared
def test_migrations_lead_from_nothing_to_the_models(place):
    """Alembic itself finds no difference; and it would find one, in a column more or a table more."""
    Store.open(place)
    assert differences(place, Base.metadata) == []
    changed = MetaData()
    for table in Base.metadata.tables.values():
        table.to_metadata(changed)
    changed.tables["jobs"].append_column(Column("mood", Integer))
    Table("moods", changed, Column("id", Integer, primary_key=True))
    assert [change[0] for change in differences(place, changed)] == ["add_table", "add_column"]


def test_the_newest_revision_is_the_one_the_store_expects():
    """``HEAD`` is written down so that opening a store need not load Alembic; there is one newest revision."""
    assert ScriptDirectory.from_config(config()).get_heads() == [HEAD]


def test_an_empty_file_becomes_a_store(tmp_path):
    """As left by a process that died at once; who only wants to read is told what fills it."""
    (tmp_path / "harness.db").touch()
    with pytest.raises(HarnessError, match=r"harness\.db is empty: `harness results rebuild` makes it anew"):
        Store.open(tmp_path / "harness.db", create=False)
    assert Store.open(tmp_path / "harness.db").ingest(write_train(tmp_path, "a"))


@shared
def test_a_database_newer_than_the_code_is_refused_and_left_alone(place, tmp_path):
    """Writing into a schema one does not know would spoil it."""
    Store.open(place).ingest(write_train(tmp_path, "a"))
    engine = engine_at(place)
    for revision in ("harness_9999", HEAD):
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :new"), {"new": revision})
        if revision != HEAD:
            for create in (True, False):
                with pytest.raises(HarnessError, match=r"is at schema 'harness_9999', .*: upgrade the harness"):
                    Store.open(place, create=create)
    assert list(jobs(Store.open(place)).id) == ["train-a"]


@shared
@pytest.mark.parametrize("revision", RELEASED)
def test_a_database_of_every_release_is_brought_up_to_date_with_what_it_holds(place, tmp_path, revision):
    """Its jobs stay with their numbers, and there is room for what jobs have had since."""
    old = [write_train(tmp_path, "a"), write_evaluate(tmp_path, "x", [1, 1, 0], backwards=60, correct_low=1)]
    written_at(place, revision, old)
    store = Store.open(place)
    assert differences(place, Base.metadata) == []
    assert store.ingest(write_diagnose(tmp_path, "d", "trusted", evaluations=["x"]))
    assert list(jobs(store).id) == ["diagnose-d", "evaluate-x", "train-a"]
    assert len(history(store)) == 3
    row = by_attack(long_form(store))["pgd-20"]
    assert (row["accuracy"], row["forwards"], row["verdict"]) == (2 / 3, 60, "trusted")
    counted = revision >= "harness_0004"  # what was stored before the columns were there has neither
    assert (row["accuracy_low"], row["backwards"]) == ((1 / 3, 60) if counted else (None, None))


@shared
def test_the_schema_can_be_taken_back(place):
    """The first revision's downgrade leaves no table of ours."""
    Store.open(place)
    migrate(place, command.downgrade, "base")
    engine = engine_at(place)
    assert inspect(engine).get_table_names() == ["alembic_version"]


def test_the_store_works_out_of_the_wheel_in_any_directory(tmp_path):
    """The wheel holds every migration; a store is made from its unpacked files alone, with no ini file in sight."""
    source = tmp_path / "source"
    for package in ("results", "harness"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / package, source / package, ignore=ignored)
    shutil.copy(REPOSITORY / "pyproject.toml", source)
    for name in ("README.md", "LICENSE"):
        (source / name).touch()
    build = "from setuptools.build_meta import build_wheel; import sys; print(build_wheel(sys.argv[1]))"
    made = subprocess.run(
        [sys.executable, "-c", build, tmp_path], cwd=source, capture_output=True, text=True, check=True
    )
    wheel, installed, elsewhere = tmp_path / made.stdout.split()[-1], tmp_path / "installed", tmp_path / "elsewhere"
    shutil.unpack_archive(wheel, installed, "zip")
    elsewhere.mkdir()
    code = (
        "import results; from results.store import Store; from pathlib import Path; Store.open(Path('new.db'));"
        "print(results.__file__)"
    )
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    run_code = [sys.executable, "-c", code]
    ran = subprocess.run(run_code, cwd=elsewhere, env=environment, capture_output=True, text=True, check=True)
    assert Path(ran.stdout.strip()).is_relative_to(installed)
    assert differences(elsewhere / "new.db", Base.metadata) == []
