"""The schema's history leads to the models, from any directory and out of a wheel."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from results_jobs import by_attack, jobs, write_diagnose, write_evaluate, write_train
from sqlalchemy import Column, Integer, MetaData, Table, create_engine

from results.errors import HarnessError
from results.migrations import HEAD
from results.migrations.upgrade import config
from results.queries import long_form
from results.schema import Base
from results.store import Store

REPOSITORY = Path(__file__).parents[2]


def differences(path, metadata):
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    engine.dispose()
    return found


def downgrade(path, revision):
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        settings = config()
        settings.attributes["connection"] = connection
        command.downgrade(settings, revision)
    engine.dispose()


def test_migrations_lead_from_nothing_to_the_models(tmp_path):
    """Alembic itself finds no difference; and it would find one, in a column more or a table more."""
    Store.open(tmp_path / "harness.db")
    assert differences(tmp_path / "harness.db", Base.metadata) == []
    changed = MetaData()
    for table in Base.metadata.tables.values():
        table.to_metadata(changed)
    changed.tables["jobs"].append_column(Column("mood", Integer))
    Table("moods", changed, Column("id", Integer, primary_key=True))
    assert [change[0] for change in differences(tmp_path / "harness.db", changed)] == ["add_table", "add_column"]


def test_the_newest_revision_is_the_one_the_store_expects():
    """``HEAD`` is written down so that opening a store need not load Alembic; there is one newest revision."""
    assert ScriptDirectory.from_config(config()).get_heads() == [HEAD]


def test_an_empty_file_becomes_a_store(tmp_path):
    """As left by a process that died at once; who only wants to read is told what fills it."""
    (tmp_path / "harness.db").touch()
    with pytest.raises(HarnessError, match=r"harness\.db is empty: `harness results rebuild` makes it anew"):
        Store.open(tmp_path / "harness.db", create=False)
    assert Store.open(tmp_path / "harness.db").ingest(write_train(tmp_path, "a"))


def test_a_database_newer_than_the_code_is_refused_and_left_alone(tmp_path):
    """Writing into a schema one does not know would spoil it."""
    path = tmp_path / "harness.db"
    Store.open(path).ingest(write_train(tmp_path, "a"))
    for revision in ("harness_9999", HEAD):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
        if revision != HEAD:
            with pytest.raises(HarnessError, match=r"is at schema 'harness_9999', .*: upgrade the harness"):
                Store.open(path)
    assert list(jobs(Store.open(path)).id) == ["train-a"]


def test_a_store_of_the_first_revision_is_brought_up_to_date_with_what_it_holds(tmp_path):
    """As written by the first release: its jobs stay, and there is room for diagnoses."""
    path = tmp_path / "harness.db"
    Store.open(path).ingest(write_train(tmp_path, "a"))
    downgrade(path, "harness_0001")
    store = Store.open(path)
    assert store.ingest(write_diagnose(tmp_path, "d", "trusted"))
    assert list(jobs(store).id) == ["diagnose-d", "train-a"]
    assert differences(path, Base.metadata) == []


def test_an_evaluation_of_an_older_version_has_neither_backward_passes_nor_a_bound(tmp_path):
    """What was stored before the columns were there stays, and the new ones are empty."""
    path = tmp_path / "harness.db"
    Store.open(path).ingest(write_evaluate(tmp_path, "x", [1, 1, 0], backwards=60, correct_low=1))
    assert by_attack(long_form(Store.open(path)))["pgd-20"]["accuracy_low"] == 1 / 3
    downgrade(path, "harness_0003")
    row = by_attack(long_form(Store.open(path)))["pgd-20"]
    assert (row["accuracy"], row["forwards"]) == (2 / 3, 60)
    assert (row["accuracy_low"], row["backwards"]) == (None, None)


def test_the_schema_can_be_taken_back(tmp_path):
    """The first revision's downgrade leaves no table of ours."""
    Store.open(tmp_path / "harness.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'harness.db'}")
    with engine.begin() as connection:
        settings = config()
        settings.attributes["connection"] = connection
        command.downgrade(settings, "base")
        names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars().all()
    engine.dispose()
    assert names == ["alembic_version"]


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
