"""Jobs that are ended from elsewhere, and who is at work in a workspace."""

import subprocess
import sys
import threading
import time

import pytest
from filelock import FileLock

from harness.api.specs import job_id
from harness.compute.files import save_text
from harness.run import cancelling
from harness.run.cancelling import Cancelled, cancellable
from harness.run.presence import at_work, is_worked_in, lock_of
from harness.run.status import state_of
from harness.run.worker import JobFailed, run_job
from harness.run.workspace import Workspace
from results.layout import WorkspaceFiles

PATIENCE = 60.0  # seconds


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(cancelling, "POLL_SECONDS", 0.01)


def work(until):
    """What a job may do: it catches whatever goes wrong with it."""
    while time.monotonic() < until:
        try:
            sum(range(1000))
        except Exception:
            pytest.fail("a job must not be able to hold it up")


def test_what_is_asked_for_before_the_start_never_starts(tmp_path):
    request = tmp_path / "job"
    request.touch()
    with pytest.raises(Cancelled), cancellable(request):
        pytest.fail("it has started")
    assert not request.exists()


def test_a_job_at_work_ends_soon_after_the_file_is_there(tmp_path):
    request, end = tmp_path / "job", time.monotonic() + PATIENCE
    threading.Timer(0.05, request.touch).start()
    with pytest.raises(Cancelled), cancellable(request):
        work(end)
    assert time.monotonic() < end
    assert not request.exists()


def test_nothing_is_left_once_the_job_has_ended(tmp_path):
    """The file came too late: this thread goes on with whatever it does next."""
    request = tmp_path / "job"
    with cancellable(request):
        pass
    request.touch()
    work(time.monotonic() + 0.1)


def test_the_interpreter_is_as_it_was(tmp_path):
    """Python 3.11 hangs under a profiler, which the diagnosis uses, if an exception is set and taken back."""
    code = """if True:
        import sys
        from pathlib import Path
        from harness.run.cancelling import cancellable
        for _ in range(3):
            with cancellable(Path("nowhere")):
                pass
        sys.setprofile(lambda *_: None)
        (lambda: None)()"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE, cwd=tmp_path)


def test_a_cancelled_job_says_so_and_is_done_when_it_is_tried_again(tmp_path, digits, train_spec):
    here, spec = Workspace(tmp_path, "digits", tmp_path / "data"), train_spec("natural", epochs=1)
    files = here.job(job_id(spec))
    save_text(files.spec, spec.model_dump_json())
    save_text(here.cancellation(files.id), "")
    with pytest.raises(JobFailed, match="cancelled: harness retry") as failed:
        run_job(files.id, here, "cpu")
    assert not failed.value.retry
    assert state_of(files).state == "cancelled"
    run_job(files.id, here, "cpu")
    assert state_of(files).state == "done"


def test_what_was_asked_of_an_earlier_run_is_forgotten(tmp_path):
    """Its job may never have come; a second run beside the first forgets nothing."""
    here = WorkspaceFiles(tmp_path)
    request = here.cancellation("job")
    save_text(request, "")
    with at_work(here):
        assert not request.exists()
    save_text(request, "")
    with FileLock(here.schedulers / "another.lock"), at_work(here):
        assert request.exists()


def test_a_run_is_at_work_from_its_start_to_its_end(tmp_path):
    here = WorkspaceFiles(tmp_path)
    assert not is_worked_in(here)
    with at_work(here):
        assert is_worked_in(here)
    assert not is_worked_in(here)


def test_a_run_that_was_killed_is_not_at_work(tmp_path):
    code = f"""if True:
        import os
        from pathlib import Path
        from harness.run.presence import at_work
        from results.layout import WorkspaceFiles
        with at_work(WorkspaceFiles(Path({str(tmp_path)!r}))):
            os._exit(9)"""
    killed = subprocess.Popen([sys.executable, "-c", code])
    assert killed.wait() == 9
    here = WorkspaceFiles(tmp_path)
    assert lock_of(here, killed.pid).exists()
    assert not is_worked_in(here)
