"""Several processes at one store, and processes killed while they write it: real ones."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pandas.testing import assert_frame_equal
from results_jobs import jobs, train_spec, write_failure, write_train, write_workspace
from sqlalchemy import select

import results
from results.queries import history, long_form
from results.schema import StoredEpoch, StoredEvaluation, StoredJob, StoredTraining
from results.store import Store

shared = pytest.mark.parametrize("place", ["file", "postgres"], indirect=True)

INGEST_EACH = """
import sys
from pathlib import Path
from results.store import Store
store = Store.open(sys.argv[1])
for directory in sorted(Path(sys.argv[2]).iterdir()):
    store.ingest(directory)
    print(directory.name, flush=True)
"""

# The rows are written and the transaction is still open: the worst moment to die.
DIE_BEFORE_COMMIT = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.orm import Session
from results.store import Store
store = Store.open(sys.argv[1])
event.listen(Session, "before_commit", lambda session: (session.flush(), os.kill(os.getpid(), signal.SIGKILL)))
store.ingest(Path(sys.argv[2]))
"""

DIE_WHILE_MIGRATING = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.engine import Engine
from results.store import Store
@event.listens_for(Engine, "after_cursor_execute")
def die(connection, cursor, statement, *rest):
    if "CREATE TABLE evaluations" in statement:
        os.kill(os.getpid(), signal.SIGKILL)
Store.open(sys.argv[1])
"""

DIE_WHILE_REBUILDING = """
import os, signal, sys
from pathlib import Path
import results.rebuild as module
copy = module.copy_file
def die_after(source, target):
    copy(source, target)
    if target == Path(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
module.copy_file = die_after
module.rebuild(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def start(code, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(Path(results.__file__).parents[1])}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def assert_killed(process):
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors


def assert_whole(store):
    """The file is sound, and every job that is done has all its epochs or verdicts: no more, no less."""
    with store.reading() as session:
        if session.connection().dialect.name == "sqlite":
            assert session.connection().exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            assert session.connection().exec_driver_sql("PRAGMA foreign_key_check").all() == []
        for job in session.scalars(select(StoredJob)):
            if job.kind == "train":
                epochs = session.scalars(select(StoredEpoch).where(StoredEpoch.job_id == job.id)).all()
                assert len(epochs) == session.get_one(StoredTraining, job.id).total_epochs
            else:
                assert session.get(StoredEvaluation, job.id) is not None


@pytest.mark.slow
@shared
def test_processes_that_store_the_same_jobs_at_once_store_each_once(place, tmp_path):
    """Four processes race to make the tables, and then for every job; none fails, and nothing is lost or doubled."""
    root = write_workspace(tmp_path / "jobs", trainings=4)
    processes = [start(INGEST_EACH, place, root) for _ in range(4)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    alone = Store.open(tmp_path / "alone.db")
    alone.ingest_all(root)
    store = Store.open(place)
    assert_whole(store)
    for query in (long_form, history, jobs):
        assert_frame_equal(query(store), query(alone))


@pytest.mark.parametrize("stored", [1, 20])
def test_a_process_killed_while_storing_leaves_whole_jobs_and_the_next_goes_on(tmp_path, stored):
    """Killed somewhere after so many jobs; what is there is whole, and the same call stores the rest."""
    root, path = write_workspace(tmp_path / "jobs", trainings=12), tmp_path / "harness.db"
    process = start(INGEST_EACH, path, root)
    names = [process.stdout.readline().strip() for _ in range(stored)]
    process.kill()
    assert_killed(process)
    store = Store.open(path)
    assert_whole(store)
    there = set(jobs(store).id)
    assert set(names) <= there
    assert len(there) < 48
    counts = store.ingest_all(root)
    assert (counts.done, counts.unchanged) == (48 - len(there), len(there))


@shared
def test_a_process_killed_before_it_commits_has_stored_nothing(place, tmp_path):
    """The failed row that was about to be replaced is still there, and the next process replaces it."""
    directory, store = tmp_path / "train-a", Store.open(place)
    store.ingest(write_failure(directory, train_spec()))
    write_train(tmp_path, "a")
    assert_killed(start(DIE_BEFORE_COMMIT, place, directory))
    assert list(jobs(store).state) == ["failed"]
    assert history(store).empty
    assert store.ingest(directory)
    assert list(jobs(store).state) == ["done"]
    assert_whole(store)


@shared
def test_a_process_killed_while_it_makes_the_tables_does_no_harm(place, tmp_path):
    """The tables appear all together: the next process finds an empty database and makes them."""
    assert_killed(start(DIE_WHILE_MIGRATING, place))
    store = Store.open(place)
    assert store.ingest(write_train(tmp_path, "a"))


@pytest.mark.parametrize("moment", ["harness.db.bak", "harness.db"])
def test_a_rebuild_killed_at_any_step_leaves_a_database_with_every_job(tmp_path, moment):
    """After the old one is kept, and after the new one is in place: the rows are there."""
    root, path = write_workspace(tmp_path / "jobs"), tmp_path / "harness.db"
    store = Store.open(path)
    store.ingest_all(root)
    before = long_form(store)
    assert_killed(start(DIE_WHILE_REBUILDING, path, root, tmp_path / moment))
    assert_whole(Store.open(path))
    assert_frame_equal(long_form(Store.open(path)), before)


def test_asking_the_store_loads_neither_torch_nor_the_engine(tmp_path):
    """``harness status`` must be quick: what it needs of the store, in a fresh process, leaves the heavy ones out."""
    Store.open(tmp_path / "harness.db").ingest(write_train(tmp_path, "a"))
    code = (
        "import sys; from pathlib import Path; from results.store import Store; from results.queries import history;"
        "assert len(history(Store.open(Path(sys.argv[1]), create=False))) == 3;"
        "print(*({'torch', 'harness', 'scipy', 'alembic', 'pydantic', 'matplotlib'} & set(sys.modules)))"
    )
    output, errors = start(code, tmp_path / "harness.db").communicate(timeout=60)
    assert (output.strip(), errors) == ("", "")
