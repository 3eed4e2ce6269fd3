"""One contract on every engine: a file, memory, and a PostgreSQL server of the test's own."""

import json
from functools import partial

import pytest
from pandas.testing import assert_frame_equal
from results_jobs import (
    TIMES,
    jobs,
    train_spec,
    write_diagnose,
    write_evaluate,
    write_failure,
    write_spec,
    write_train,
    write_workspace,
)
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

import results.directory
from results.errors import HarnessError
from results.lookups import missing_trainings
from results.queries import history, long_form
from results.rebuild import rebuild
from results.schema import Base, StoredDiagnosis, StoredEvaluation, StoredJob, StoredTraining
from results.store import Ingested, Store

TABLES = Base.metadata.tables
shared = pytest.mark.parametrize("place", ["file", "postgres"], indirect=True)


@pytest.fixture
def store(place):
    return Store.open(place)


def read(store, model, job_id):
    with store.reading() as session:
        return session.get_one(model, job_id)


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


@shared
def test_a_success_stored_while_a_failure_was_being_read_stays(store, place, tmp_path, monkeypatch):
    """Another process wins the race between the look at the directory and the write."""
    failed = write_failure(tmp_path / "elsewhere" / "train-a", train_spec())
    read_job = results.directory.read_job

    def read_slowly(directory):
        job = read_job(directory)
        monkeypatch.undo()
        assert Store.open(place).ingest(write_train(tmp_path, "a"))
        return job

    monkeypatch.setattr(results.directory, "read_job", read_slowly)
    assert not store.ingest(failed)
    assert list(jobs(store).state) == ["done"]


def test_a_success_counts_before_a_failure_left_beside_it(store, tmp_path):
    """A worker killed between writing result.json and removing failure.json has succeeded."""
    directory = write_train(tmp_path, "a")
    store.ingest(write_failure(directory, train_spec()))
    assert list(jobs(store).state) == ["done"]


def test_a_broken_transaction_leaves_nothing_behind(store, tmp_path):
    """What ends it after the rows are written takes them all with it."""

    def stop(session):
        session.flush()
        raise RuntimeError("no")

    event.listen(Session, "before_commit", stop)
    try:
        with pytest.raises(RuntimeError, match="no"):
            store.ingest(write_train(tmp_path, "a"))
    finally:
        event.remove(Session, "before_commit", stop)
    assert jobs(store).empty
    assert store.ingest(tmp_path / "train-a")


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


def test_every_engine_gives_the_answers_of_a_file(store, tmp_path):
    """Numbers and texts alike, bit for bit, in the same order."""
    root = write_workspace(tmp_path / "jobs")
    write_diagnose(root, "d", "masked", "gradients mislead", train="0-0", evaluations=["0-0-natural", "0-0-fgsm"])
    write_failure(root / "train-f", train_spec("mart"))
    alone = Store.open(tmp_path / "alone.db")
    for each in (store, alone):
        each.ingest_all(root)
    some = partial(long_form, dataset="digits", attack=["fgsm", "worst-case"], verdict="masked", examples=101)
    for query, rows in ((long_form, 12), (history, 9), (jobs, 14), (some, 2)):
        assert_frame_equal(query(store), query(alone))
        assert len(query(store)) == rows


def test_a_job_that_is_removed_takes_all_its_rows_with_it(store, tmp_path):
    """Its epochs, verdicts and findings; every other job stays."""
    for directory in (write_train(tmp_path, "a"), write_train(tmp_path, "b"), write_evaluate(tmp_path, "a", [True])):
        store.ingest(directory)
    store.remove(["train-a", "evaluate-a", "train-unknown"])
    assert list(jobs(store).id) == ["train-b"]
    with store.reading() as session:
        counts = {name: session.scalar(select(func.count()).select_from(table)) for name, table in TABLES.items()}
    assert counts == {"jobs": 1, "trainings": 1, "epochs": 3, "evaluations": 0, "diagnoses": 0, "features": 0}


def test_a_store_is_at_another_state_after_every_change(store, tmp_path):
    """Whoever shows what is in it need not read it again while that stays."""
    states = [store.state()]
    for change in (
        lambda: store.ingest(write_failure(tmp_path / "train-a", train_spec(), finished="2026-01-01T00:00:00+00:00")),
        lambda: store.ingest(write_train(tmp_path, "a")),
        lambda: store.ingest(write_evaluate(tmp_path, "b", [True])),
        lambda: store.remove(["train-a"]),
    ):
        change()
        assert store.state() == store.state()
        states.append(store.state())
    assert len({repr(state) for state in states}) == 5


def test_what_json_cannot_say_is_null(store, tmp_path):
    """A probe that divided by zero, at any depth."""
    probes = {"ratio": float("nan"), "slopes": [1.5, {"steepest": float("inf")}]}
    store.ingest(write_diagnose(tmp_path, "d", "suspect", probes=probes))
    assert read(store, StoredDiagnosis, "diagnose-d").probes == {"ratio": None, "slopes": [1.5, {"steepest": None}]}


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"model": "a\0b"}, "model"), ({"seed": 2**63}, "seed"), ({"seed": -(2**63) - 1}, "seed")],
    ids=["zero byte", "too large", "too small"],
)
def test_what_no_column_holds_is_refused_by_the_files_name_and_stops_no_other(store, tmp_path, changes, what):
    """PostgreSQL takes no text with a zero byte, no engine a whole number of more than 64 bits."""
    write_train(tmp_path / "jobs", "a", **changes)
    write_train(tmp_path / "jobs", "b")
    (message,) = store.ingest_all(tmp_path / "jobs").broken
    assert f"train-a/spec.json is damaged: train.{what}: " in message
    assert list(jobs(store).id) == ["train-b"]


def test_a_loss_that_is_no_number_is_refused(store, tmp_path):
    """SQLite would take it for a missing value, PostgreSQL for what it is."""
    history = write_train(tmp_path, "a") / "history.jsonl"
    history.write_text(history.read_text().replace('"loss": 1.0', '"loss": NaN'))
    with pytest.raises(HarnessError, match=r"history\.jsonl line 2 is damaged: loss: Input should be a finite number"):
        store.ingest(history.parent)


def test_a_failure_may_have_said_anything(store, tmp_path):
    """Only the zero byte, which PostgreSQL takes in no text, is shown as what it is."""
    file = write_failure(tmp_path / "train-a", train_spec()) / "failure.json"
    said = json.loads(file.read_text()) | {"error": "\0 \N{SNOWMAN} '; DROP TABLE jobs; --\n"}
    file.write_text(json.dumps(said))
    store.ingest(file.parent)
    assert list(jobs(store).error) == ["\N{REPLACEMENT CHARACTER} \N{SNOWMAN} '; DROP TABLE jobs; --\n"]


@shared
def test_a_reader_sees_one_state_while_others_write(store, place, tmp_path):
    """And does not keep them waiting."""
    store.ingest(write_train(tmp_path, "a"))
    with store.reading() as session:
        before = session.scalars(select(StoredJob.id)).all()
        Store.open(place).ingest(write_train(tmp_path, "b"))
        assert session.scalars(select(StoredJob.id)).all() == before == ["train-a"]
    assert list(jobs(store).id) == ["train-a", "train-b"]


@shared
def test_a_database_is_rebuilt_and_its_old_rows_are_kept(store, place, tmp_path):
    """In an SQLite file, whatever the engine: rows whose directories are gone are in there."""
    root = write_workspace(tmp_path / "jobs")
    assert rebuild(place, root)[1] == (tmp_path / "harness.db.bak" if place == tmp_path / "harness.db" else None)
    before = {query: query(store) for query in (long_form, history, jobs)}
    for path in sorted((root / "train-0-0").iterdir()):
        path.unlink()
    counts, kept = rebuild(place, root)
    assert counts.done == 11
    assert missing_trainings(store) == {"train-0-0": 3}
    for query, frame in before.items():
        assert_frame_equal(query(Store.open(kept)), frame)
    rebuild(place, root)
    assert not [*tmp_path.glob(".harness.db-*")]


def test_a_server_that_does_not_answer_is_named_without_its_password():
    """In one line, whatever the driver says in several."""
    with pytest.raises(
        HarnessError, match=r"^database postgresql\+psycopg://me:\*\*\*@127\.0\.0\.1:9/db cannot"
    ) as error:
        Store.open("postgresql+psycopg://me:secret@127.0.0.1:9/db")
    assert "refused" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_role_that_may_only_read_reads(on_postgres, tmp_path):
    """What it may not do is one line, no traceback."""
    store = Store.open(on_postgres)
    store.ingest(write_train(tmp_path, "a"))
    with store.writing() as session:
        for statement in (
            "DROP ROLE IF EXISTS guest",
            "CREATE ROLE guest LOGIN",
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest",
        ):
            session.connection().exec_driver_sql(statement)
    guest = Store.open(on_postgres.replace("harness@", "guest@"), create=False)
    assert list(jobs(guest).id) == ["train-a"]
    with pytest.raises(HarnessError, match="cannot be used: permission denied for table jobs"):
        guest.remove(["train-a"])
