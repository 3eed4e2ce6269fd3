"""Worker processes: their device, their death, and their end."""

import os
import subprocess
import sys
import time
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
import torch
import worker_calls
from worker_calls import answer_nonsense, die, fail, fail_as_jobs_do, sleep, where

from harness.run.executors.inline import InlineExecutor
from harness.run.executors.local import LocalExecutor, WorkerDied
from harness.run.executors.slots import Slot, default_slots
from harness.run.worker import JobFailed


def test_inline_runs_here_and_passes_the_device():
    executor = InlineExecutor(Slot("cpu", 1))
    assert executor.submit(where, "a").result()[:3] == ("a", "cpu", os.getpid())
    assert [future.result()[:2] for future in executor.everywhere(where)] == [("cpu", os.getpid())]
    with pytest.raises(ValueError, match="broken"):
        executor.submit(fail, "broken").result()


@pytest.mark.slow
def test_local_runs_each_slot_in_its_own_process_with_its_device_and_threads():
    with LocalExecutor([Slot("cpu", 1), Slot("meta", 1)]) as executor:
        everywhere = [future.result() for future in executor.everywhere(where)]
        futures = [executor.submit(where) for _ in range(8)]
        answers = {future.result() for future in futures}
    assert sorted(device for device, _, _ in everywhere) == ["cpu", "meta"]
    assert {device for device, _, _ in answers} <= {"cpu", "meta"}
    assert {threads for _, _, threads in answers} == {1}
    assert os.getpid() not in {pid for _, pid, _ in answers}


@pytest.fixture(scope="module")
def one_slot():
    """An executor with one worker at a time, for calls after which the next finds a fresh one."""
    with LocalExecutor([Slot("cpu", 1)]) as executor:
        yield executor


@pytest.mark.slow
def test_an_error_in_a_worker_comes_back_and_the_next_call_finds_a_fresh_worker(one_slot):
    """Whatever the failed call left behind, memory or a broken CUDA context, ended with its process."""
    first = one_slot.submit(where).result()
    with pytest.raises(ValueError, match="broken"):
        one_slot.submit(fail, "broken").result()
    second, third = one_slot.submit(where).result(), one_slot.submit(where).result()
    assert second[1] != first[1]
    assert second == third


@pytest.mark.slow
def test_a_failed_job_comes_back_whole(one_slot):
    error = one_slot.submit(fail_as_jobs_do).exception(timeout=60)
    assert isinstance(error, JobFailed)
    assert (error.message, error.retry, str(error)) == ("the message", True, "the message")


@pytest.mark.slow
def test_an_answer_that_does_not_pickle_is_an_error_and_no_hang(one_slot):
    assert one_slot.submit(answer_nonsense).exception(timeout=60) is not None
    assert one_slot.submit(where).result(timeout=60)[0] == "cpu"


@pytest.mark.slow
def test_a_killed_worker_fails_its_own_job_only(one_slot):
    lost, next_one = one_slot.submit(die), one_slot.submit(where)
    with pytest.raises(WorkerDied, match="exit code -9"):
        lost.result()
    assert next_one.result()[0] == "cpu"


@pytest.mark.slow
def test_cancelling_ends_running_and_queued_calls_at_once():
    executor = LocalExecutor([Slot("cpu", 1)])
    executor.submit(where).result()
    running, queued = executor.submit(sleep, 60), executor.submit(sleep, 60)
    time.sleep(0.2)
    started = time.monotonic()
    executor.shutdown(cancel_futures=True)
    assert time.monotonic() - started < 10
    assert isinstance(running.exception(), WorkerDied)
    with pytest.raises(CancelledError):
        queued.result()


SCRIPT = """
import sys, time
sys.path.insert(0, {here!r})
from harness.run.worker import JobFailed
from harness.run.executors.local import LocalExecutor
from harness.run.executors.slots import Slot
from worker_calls import where, sleep

if __name__ == "__main__":
    executor = LocalExecutor([Slot("cpu", 1)])
    print(executor.submit(where).result()[1], flush=True)
    executor.submit(sleep, 600).result()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_workers_end_when_the_scheduler_is_killed(tmp_path):
    """No orphan goes on computing, or holding a job's lock, after kill -9."""
    script = tmp_path / "scheduler.py"
    script.write_text(SCRIPT.format(here=str(Path(worker_calls.__file__).parent)))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as scheduler:
        assert scheduler.stdout is not None
        worker = int(scheduler.stdout.readline())
        scheduler.kill()
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        if _zombie(worker):
            return
        time.sleep(0.1)
    pytest.fail(f"worker {worker} still lives")


def _zombie(pid):
    try:
        with Path(f"/proc/{pid}/stat").open() as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_without_a_gpu_the_cores_are_shared_out():
    slots = default_slots(2)
    assert len(slots) == 2
    if not torch.cuda.is_available():
        assert {slot.device for slot in slots} == {"cpu"}
        assert sum(slot.threads for slot in slots) <= max(2, os.cpu_count() or 1)
