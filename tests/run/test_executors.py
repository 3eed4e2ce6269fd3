"""What holds of every executor; worker processes: their device, their death, and their end."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from operator import contains
from pathlib import Path

import pytest
import torch
import worker_calls
from one_node import wait_until
from worker_calls import answer_nonsense, die, fail, fail_as_jobs_do, sleep, where

from harness.api.errors import HarnessError
from harness.run.executors import (
    GivenExecutor,
    InlineExecutor,
    LocalExecutor,
    Slot,
    WorkerDied,
    default_slots,
    executor_for,
    on_dask,
)
from harness.run.executors.local import TimeLimitReached
from harness.run.executors.slots import parse_devices
from harness.run.worker import JobFailed
from harness.run.workspace import Workspace


@pytest.fixture(scope="module")
def process_pool():
    """Anybody's executor."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        yield GivenExecutor(pool)


@pytest.fixture(scope="module")
def dask():
    """A dask cluster of two processes, which gives up a call whose worker died at once."""
    distributed = pytest.importorskip("distributed", reason="no dask.distributed here: tox run -e tools has it")
    from dask import config

    with (
        config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        on_dask(cluster.scheduler_address) as executor,
    ):
        assert executor.workers == 2
        yield executor


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("local", "process_pool")]
TOOLS = [pytest.param(name, marks=pytest.mark.tools) for name in ("dask", "slurm")]


@pytest.fixture(scope="module", params=["inline", *SLOW, *TOOLS])
def executor(request, tmp_path_factory):
    """Each executor, what it can with room for one call at a time: what follows holds for all of them."""
    if request.param in {"process_pool", "dask"}:
        yield request.getfixturevalue(request.param)
        return
    if request.param == "slurm":
        request.getfixturevalue("slurm")
    place = Workspace(tmp_path_factory.mktemp("workspace"), "digits", Path())
    with executor_for(request.param, 1, place) as made:
        yield made


@pytest.fixture
def apart(executor):
    """An executor whose calls have a process of their own."""
    if isinstance(executor, InlineExecutor):
        pytest.skip("runs calls in this process")
    return executor


def test_a_call_gets_its_arguments_and_then_a_device(executor):
    word, device, pid, threads = executor.submit(where, "a").result(timeout=60)
    assert (word, threads >= 1) == ("a", True)
    assert torch.device(device).type in {"cpu", "cuda"}
    assert (pid == os.getpid()) == isinstance(executor, InlineExecutor)
    assert [len(future.result(timeout=60)) for future in executor.everywhere(where)] == [3]


def test_an_error_comes_back_and_the_next_call_runs(executor):
    with pytest.raises(ValueError, match="broken"):
        executor.submit(fail, "broken").result(timeout=60)
    assert executor.submit(where, "next").result(timeout=60)[0] == "next"


def test_a_failed_job_comes_back_whole(executor):
    error = executor.submit(fail_as_jobs_do, "job").exception(timeout=60)
    assert isinstance(error, JobFailed)
    assert (error.message, error.retry, str(error)) == ("the message", True, "the message")


def test_an_answer_that_does_not_pickle_is_an_error_and_no_hang(apart):
    assert apart.submit(answer_nonsense, "job").exception(timeout=60) is not None
    assert apart.submit(where, "next").result(timeout=60)[0] == "next"


def test_a_killed_worker_fails_its_own_job_only(apart, request):
    if "process_pool" in request.node.name:
        pytest.skip("a process pool is broken as a whole")
    lost, next_one = apart.submit(die, "job"), apart.submit(where, "next")
    with pytest.raises(WorkerDied, match=r"exit code -9|ended without a result: FAILED|KilledWorker"):
        lost.result(timeout=60)
    assert next_one.result(timeout=60)[0] == "next"


def test_cancelling_ends_running_and_queued_calls_at_once(apart, tmp_path):
    if isinstance(apart, GivenExecutor):
        pytest.skip("running calls end when their executor ends them")
    name = "local" if isinstance(apart, LocalExecutor) else "slurm"
    executor = executor_for(name, 1, Workspace(tmp_path, "digits", Path()))
    running, queued = executor.submit(sleep, "first", 60), executor.submit(sleep, "second", 60)
    wait_until(running.running)
    started = time.monotonic()
    executor.shutdown(cancel_futures=True)
    assert time.monotonic() - started < 10
    assert isinstance(running.exception(), WorkerDied)
    with pytest.raises(CancelledError):
        queued.result()


def test_of_a_given_executor_queued_calls_are_cancelled_and_it_is_left_as_it_is():
    running, go_on = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        executor = GivenExecutor(pool)
        first, second = (
            executor.submit(lambda device: running.set() or go_on.wait(60)),
            executor.submit(where, "second"),
        )
        assert running.wait(60)
        executor.shutdown(cancel_futures=True)
        with pytest.raises(CancelledError):
            second.result(timeout=60)
        go_on.set()
        assert first.result(timeout=60)
        assert GivenExecutor(pool).submit(where, "third").result(timeout=60)[0] == "third"


def test_threads_of_a_given_executor_take_turns():
    """torch's modes and generators are a process's, and not a thread's."""
    at_work = []

    def alone(device):
        at_work.append(device)
        time.sleep(0.05)
        return len(at_work), at_work.pop()

    with ThreadPoolExecutor(4) as pool, GivenExecutor(pool, 4) as executor:
        futures = [executor.submit(alone) for _ in range(4)]
        assert [future.result(timeout=60)[0] for future in futures] == [1, 1, 1, 1]


def test_a_closed_executor_and_one_that_gives_a_call_up_lose_the_job_by_name():
    class GivesUp(ThreadPoolExecutor):
        def submit(self, *_):
            future = Future()
            future.cancel()
            return future

    assert "gave the job up" in str(GivenExecutor(GivesUp()).submit(where).exception(timeout=60))
    closed = GivenExecutor(ThreadPoolExecutor(1), is_open=lambda: False)
    assert "is closed" in str(closed.submit(where).exception(timeout=60))
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    error = GivenExecutor(pool).submit(where).exception(timeout=60)
    assert isinstance(error, WorkerDied)
    assert "RuntimeError: cannot schedule new futures" in str(error)


@pytest.mark.slow
def test_a_dask_cluster_must_answer():
    pytest.importorskip("distributed")
    with pytest.raises(
        HarnessError, match=r"no dask scheduler answers at 'tcp://127.0.0.1:1' \(it is like tcp://host:8786"
    ):
        on_dask("tcp://127.0.0.1:1", timeout=3)


def test_options_belong_to_an_executor():
    with pytest.raises(HarnessError, match=r"--executor dask needs .* --dask tcp://host:8786"):
        executor_for("dask", None, Workspace(Path(), "digits", Path()))
    with pytest.raises(HarnessError, match="--dask needs --executor dask, not local"):
        executor_for("local", None, Workspace(Path(), "digits", Path()), dask="tcp://host:8786")


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


@pytest.mark.slow
def test_a_local_call_that_exceeds_its_limit_is_ended_and_the_next_one_runs():
    """Its worker is gone; another one has the same time again, in which starting it does not count."""
    with LocalExecutor([Slot("cpu", 1)], hours=1 / 3600) as executor:
        late, next_one = executor.submit(contains, repeat(0)), executor.submit(contains, ["cpu"])
        with pytest.raises(TimeLimitReached, match=r"longer than --time-limit 0\.00027\d* \(hours\)"):
            late.result(timeout=60)
        assert next_one.result(timeout=60) is True


@pytest.mark.slow
def test_after_an_error_the_next_call_finds_a_fresh_local_worker():
    """Whatever the failed call left behind, memory or a broken CUDA context, ended with its process."""
    with LocalExecutor([Slot("cpu", 1)]) as executor:
        first = executor.submit(where).result()
        with pytest.raises(ValueError, match="broken"):
            executor.submit(fail, "broken").result()
        second, third = executor.submit(where).result(), executor.submit(where).result()
    assert second[1] != first[1]
    assert second == third


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
    executor.submit(sleep, "job", 600).result()
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


def test_slots_are_dealt_out_over_the_named_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    for devices, workers, expected in (("", None, [0, 1, 2, 3]), ("0,2", None, [0, 2]), ("2,0", 3, [2, 0, 2])):
        slots = default_slots(workers, parse_devices(devices))
        assert [slot.device for slot in slots] == [f"cuda:{number}" for number in expected]
    assert [slot.device for slot in default_slots(None, each=2)] == ["cuda:0,cuda:1", "cuda:2,cuda:3"]
    assert [slot.device for slot in default_slots(3, [3, 0, 1], each=2)] == ["cuda:3,cuda:0"] * 3
    with pytest.raises(HarnessError, match="--devices-per-job 4 is more than the 2 GPUs"):
        default_slots(None, [0, 1], each=4)
    for wrong in ("4", "0,", "cuda:0", "-1"):
        with pytest.raises(HarnessError, match=r"which has GPUs 0 to 3: got"):
            parse_devices(wrong)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(HarnessError, match="no GPU"):
        parse_devices("0")
    assert {slot.device for slot in default_slots(None, each=2)} == {"cpu,cpu"}


def test_without_a_gpu_the_cores_are_shared_out():
    slots = default_slots(2)
    assert len(slots) == 2
    if not torch.cuda.is_available():
        assert {slot.device for slot in slots} == {"cpu"}
        assert sum(slot.threads for slot in slots) <= max(2, os.cpu_count() or 1)
