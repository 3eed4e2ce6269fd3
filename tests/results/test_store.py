"""Opening a store, and storing job directories in it."""

import re
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from results_jobs import (
    jobs,
    write_evaluate,
    write_train,
)
from sqlalchemy import event

from results.errors import HarnessError, JobUnreadable
from results.store import Store


def test_the_store_is_in_wal_mode_and_checks_foreign_keys(store, tmp_path):
    """Readers do not wait for the writer, and no epoch can be stored without its job."""
    with closing(sqlite3.connect(tmp_path / "harness.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with store.reading() as session:
        assert session.connection().exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert session.connection().exec_driver_sql("PRAGMA busy_timeout").scalar() >= 10_000


def test_a_missing_file_is_made_with_its_folders_unless_told_not_to(tmp_path):
    """``create=False`` names the commands that make a database, and leaves nothing behind."""
    path = tmp_path / "runs" / "harness.db"
    with pytest.raises(HarnessError, match=r"no database at .*harness\.db: `harness run` makes it"):
        Store.open(path, create=False)
    assert not path.parent.exists()
    Store.open(path)
    assert jobs(Store.open(path, create=False)).empty


def test_a_url_opens_the_same_store_as_its_path(tmp_path):
    """``sqlite:///FILE`` and FILE are one database; a missing file is told of in the same words."""
    Store.open(tmp_path / "a.db").ingest(write_train(tmp_path, "a"))
    assert list(jobs(Store.open(f"sqlite:///{tmp_path / 'a.db'}", create=False)).id) == ["train-a"]
    with pytest.raises(HarnessError, match=r"no database at .*b\.db"):
        Store.open(f"sqlite:///{tmp_path / 'b.db'}", create=False)


@pytest.mark.parametrize("url", [":://", "oracel://host/db", "mssql+pymssql://host/db"])
def test_a_url_of_no_known_or_installed_database_is_an_error(url):
    """Malformed, misspelt, or in need of a driver that is not there: the URL is in the message."""
    with pytest.raises(HarnessError, match=rf"must be a file or an SQLAlchemy URL, got '{re.escape(url)}'"):
        Store.open(url)


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    """A text file given by mistake keeps every byte."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 100)
    with pytest.raises(HarnessError, match=r"notes\.txt cannot be used: file is not a database"):
        Store.open(path)
    assert path.read_text() == "not a database " * 100


def test_another_programs_database_is_refused_and_left_alone(tmp_path):
    """Not a table, not even its journal mode is changed."""
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()
    with pytest.raises(HarnessError, match="is not the harness's: it holds bookmarks"):
        Store.open(path)
    assert path.read_bytes() == before


def test_a_folder_in_place_of_the_file_is_an_error_that_names_it(tmp_path):
    """The driver's own words follow the path."""
    with pytest.raises(HarnessError, match=f"{tmp_path.name} cannot be used: unable to open database file"):
        Store.open(tmp_path)


DAMAGE = {
    "no spec": ("spec.json", None, r"spec\.json is missing"),
    "half a spec": ("spec.json", b'{"kind": "tr', r"spec\.json is damaged: Invalid JSON"),
    "spec without method": ("spec.json", b'{"kind": "train"}', r"spec\.json is damaged: train\.method: Field required"),
    "spec of another kind": ("spec.json", b'{"kind": "bake"}', r"spec\.json is damaged: .*'bake'"),
    "no result": ("result.json", None, r"result\.json is missing: the job has not finished"),
    "result without id": ("result.json", b'{"kind": "train"}', r"result\.json is damaged: id: Field required"),
    "empty result": ("result.json", b"", r"result\.json is damaged: Invalid JSON"),
    "no verdicts": ("verdicts.npy", None, r"verdicts\.npy is missing"),
    "half the verdicts": ("verdicts.npy", b"\x93NUMPY\x01", r"verdicts\.npy is damaged"),
    "empty verdicts": ("verdicts.npy", b"", r"verdicts\.npy is damaged"),
}


@pytest.mark.parametrize(("file", "content", "message"), DAMAGE.values(), ids=list(DAMAGE))
def test_a_damaged_directory_is_refused_by_the_files_name(store, tmp_path, file, content, message):
    """A copy that broke off stores nothing and says which file is at fault."""
    directory = write_evaluate(tmp_path, "a", [True, False, True])
    (directory / file).unlink()
    if content is not None:
        (directory / file).write_bytes(content)
    with pytest.raises(HarnessError, match=message):
        store.ingest(directory)
    assert jobs(store).empty


@pytest.mark.parametrize(
    ("verdicts", "message"),
    [
        (np.array([True, True, True]), "3 of 3 examples correct, but result.json says 2 of 3"),
        (np.array([True, True]), "2 of 2 examples correct, but result.json says 2 of 3"),
        (np.array([1, 0, 1]), "must hold one bool an example, got int64"),
        (np.array([[True, False, True]]), "must hold one bool an example"),
    ],
)
def test_verdicts_must_be_bools_that_agree_with_the_result(store, tmp_path, verdicts, message):
    """The stored accuracy is the one the verdicts give."""
    directory = write_evaluate(tmp_path, "a", [True, False, True])
    np.save(directory / "verdicts.npy", verdicts)
    with pytest.raises(HarnessError, match=message):
        store.ingest(directory)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (slice(0, 2), r"history\.jsonl must hold the epochs 1 to 3 .* got 1, 2"),
        (slice(0, 0), r"history\.jsonl must hold the epochs 1 to 3 .* got none"),
        (slice(None, None, -1), r"history\.jsonl must hold the epochs 1 to 3 .* got 3, 2, 1"),
    ],
)
def test_a_history_must_hold_every_epoch_once_in_order(store, tmp_path, lines, message):
    """A history cut short, or doubled by a resume, is not a curve."""
    path = write_train(tmp_path, "a") / "history.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[lines]))
    with pytest.raises(HarnessError, match=message):
        store.ingest(path.parent)


def test_a_torn_line_of_the_history_is_named(store, tmp_path):
    """File and line number are in the message."""
    path = write_train(tmp_path, "a") / "history.jsonl"
    path.write_text(path.read_text()[:-30])
    with pytest.raises(HarnessError, match=r"history\.jsonl line 3 is damaged: Invalid JSON"):
        store.ingest(path.parent)


def test_a_directory_must_bear_its_jobs_name(store, tmp_path):
    """A directory renamed by hand would be stored under a false id."""
    directory = write_train(tmp_path, "a").rename(tmp_path / "train-b")
    with pytest.raises(HarnessError, match=r"result\.json is of job train-a"):
        store.ingest(directory)


def test_a_jobs_root_that_is_no_directory_is_an_error(store, tmp_path):
    """The message says where job directories come from."""
    with pytest.raises(HarnessError, match=r"nowhere is not a directory of jobs: `harness run` makes one"):
        store.ingest_all(tmp_path / "nowhere")


def test_jobs_that_are_stored_together_take_as_many_statements_as_few(tmp_path):
    """Whatever their number, and that of their epochs: nothing is asked of the database job by job."""
    store, counts = Store.open(tmp_path / "harness.db"), []

    def count(*_):
        counts[-1] += 1

    event.listen(store._engine, "before_cursor_execute", count)
    for number in (2, 20):
        counts.append(0)
        directories = [write_train(tmp_path, f"{number}-{each}") for each in range(number)]
        assert store.ingest_several(directories) == ["done"] * number
        assert store.ingest_several(directories[:1]) == ["unchanged"]
    assert counts[0] == counts[1]


def test_a_job_that_cannot_be_read_does_not_keep_the_others_out(tmp_path):
    good, bad = write_train(tmp_path, "good"), write_train(tmp_path, "bad")
    (bad / "history.jsonl").unlink()
    store = Store.open(tmp_path / "harness.db")
    [found, error] = store.ingest_several([good, bad])
    assert (found, store.done(), store.done(["other"])) == ("done", {good.name}, set())
    assert isinstance(error, JobUnreadable)
