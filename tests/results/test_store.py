"""Opening a store, and storing job directories in it."""

import json
import re
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from results_jobs import (
    TIMES,
    jobs,
    train_spec,
    write_evaluate,
    write_failure,
    write_spec,
    write_train,
    write_workspace,
)
from sqlalchemy import select

import results.directory
from results.errors import HarnessError
from results.queries import long_form
from results.schema import StoredEvaluation, StoredJob, StoredTraining
from results.store import Ingested, Store


def read(store, model, job_id):
    with store.reading() as session:
        return session.get_one(model, job_id)


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


def test_a_training_is_stored_with_all_it_needs_to_run_again(store, tmp_path):
    """Spec and circumstances come back equal; a key nobody foresaw is kept under ``extra``."""
    directory = write_train(tmp_path, "a")
    result = json.loads((directory / "result.json").read_text())
    (directory / "result.json").write_text(json.dumps({**result, "gpu_hours": 0.25}))
    assert store.ingest(directory)
    job = read(store, StoredJob, "train-a")
    assert job.spec == train_spec()
    assert (job.state, job.kind, job.method, job.dataset, job.seed) == ("done", "train", "trades", "digits", 0)
    assert (job.device, job.code, job.seconds, job.threat) == ("cpu", "0f1e2d3c", 60.5, "Linf 0.2")
    assert job.versions == {"harness": "0.1.0", "torch": "2.11.0", "python": "3.11.9"}
    assert job.extra == {"gpu_hours": 0.25}
    training = read(store, StoredTraining, "train-a")
    assert (training.best_epoch, training.total_epochs, training.parameters) == (3, 3, 98765)
    assert (training.peak_memory, training.images_per_second) == (2**33, 1200.0)


def test_times_are_stored_in_utc(store, tmp_path):
    """A worker's clock in another zone names the same instant."""
    directory = write_train(tmp_path, "a")
    text = (directory / "result.json").read_text()
    (directory / "result.json").write_text(text.replace("03:04:05+00:00", "05:04:05+02:00"))
    store.ingest(directory)
    assert read(store, StoredJob, "train-a").started == TIMES["started"]


def test_an_evaluation_keeps_its_details(store, tmp_path):
    """What the evaluation said of itself comes back as it was written."""
    said = {"details": {"restarts": [1, 2]}}
    store.ingest(write_evaluate(tmp_path, "a", [True, False], params={"steps": 20}, checkpoint="last", **said))
    stored = read(store, StoredEvaluation, "evaluate-a")
    assert {"details": stored.details} == said
    assert (stored.train_id, stored.checkpoint, stored.attack) == ("train-a", "last", "pgd-20")
    assert (stored.attack_params, stored.forwards) == ({"steps": 20}, 40)


def test_storing_a_job_again_changes_nothing(store, tmp_path):
    """Ingestion is idempotent, also when the directory has since been damaged: done is done."""
    directory = write_evaluate(tmp_path, "a", [True, False, True])
    assert store.ingest(directory)
    before = long_form(store)
    assert not store.ingest(directory)
    (directory / "result.json").write_text("{")
    assert not store.ingest(directory)
    assert long_form(store).equals(before)


def test_a_failure_is_replaced_by_the_next_outcome_and_a_success_by_none(store, tmp_path):
    """Failed, failed again, done; then a stale failure from another machine does not undo it."""
    directory = write_failure(tmp_path / "train-a", train_spec())
    assert store.ingest(directory)
    assert not store.ingest(directory)
    (failed,) = jobs(store).to_dict("records")
    assert (failed["state"], failed["error"], failed["log"]) == ("failed", "loss is nan", "log.txt")
    later = "2026-01-03T00:00:00+00:00"
    assert store.ingest(write_failure(directory, train_spec(), finished=later))
    assert list(jobs(store).finished) == [later]
    assert store.ingest(write_train(tmp_path, "a"))
    assert list(jobs(store).state) == ["done"]
    assert not store.ingest(write_failure(tmp_path / "elsewhere" / "train-a", train_spec(), finished=later))
    assert list(jobs(store).state) == ["done"]


def test_a_success_stored_while_a_failure_was_being_read_stays(store, tmp_path, monkeypatch):
    """Another process wins the race between the look at the directory and the write."""
    failed = write_failure(tmp_path / "elsewhere" / "train-a", train_spec())
    read_job = results.directory.read_job

    def read_slowly(directory):
        job = read_job(directory)
        monkeypatch.undo()
        assert Store.open(tmp_path / "harness.db").ingest(write_train(tmp_path, "a"))
        return job

    monkeypatch.setattr(results.directory, "read_job", read_slowly)
    assert not store.ingest(failed)
    assert list(jobs(store).state) == ["done"]


def test_a_success_counts_before_a_failure_left_beside_it(store, tmp_path):
    """A worker killed between writing result.json and removing failure.json has succeeded."""
    directory = write_train(tmp_path, "a")
    store.ingest(write_failure(directory, train_spec()))
    assert list(jobs(store).state) == ["done"]


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


def test_a_broken_transaction_leaves_nothing_behind(store, tmp_path):
    """An epoch that the database refuses takes its job with it."""
    with sqlite3.connect(tmp_path / "harness.db") as connection:
        connection.execute(
            "CREATE TRIGGER stop BEFORE INSERT ON epochs WHEN NEW.epoch = 3 BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    connection.close()
    with pytest.raises(Exception, match="no"):
        store.ingest(write_train(tmp_path, "a"))
    with store.reading() as session:
        assert session.scalars(select(StoredJob)).all() == []


def test_a_whole_workspace_is_stored_past_its_broken_jobs(store, tmp_path):
    """Each directory is counted once; the broken are reported, work in progress and strangers are let be."""
    root = write_workspace(tmp_path / "jobs", trainings=2)
    write_failure(root / "train-f", train_spec("mart"))
    write_spec(root / "train-running", train_spec())
    (root / "evaluate-0-0-fgsm" / "result.json").write_text("{")
    (root / "notes").mkdir()
    (root / "train.lock").touch()
    first = store.ingest_all(root)
    assert (first.done, first.failed, first.unchanged, first.unfinished) == (7, 1, 0, 1)
    assert len(first.broken) == 1
    assert "evaluate-0-0-fgsm/result.json is damaged" in first.broken[0]
    second = store.ingest_all(root)
    assert second == Ingested(unchanged=8, unfinished=1, broken=first.broken)


def test_a_jobs_root_that_is_no_directory_is_an_error(store, tmp_path):
    """The message says where job directories come from."""
    with pytest.raises(HarnessError, match=r"nowhere is not a directory of jobs: `harness run` makes one"):
        store.ingest_all(tmp_path / "nowhere")
