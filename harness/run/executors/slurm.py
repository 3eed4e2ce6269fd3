"""Jobs on a cluster: one Slurm job for each, submitted through submitit."""

import logging
import os
import re
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from harness.api.errors import HarnessError
from harness.run.executors.local import WorkerDied
from harness.run.executors.slots import default_slots
from results.layout import WorkspaceFiles

if TYPE_CHECKING:
    from submitit import SlurmJob

T = TypeVar("T")
_Task = tuple["Future[Any]", Callable[..., Any], Path]

log = logging.getLogger("harness")

POLL_SECONDS = 5.0
AT_ONCE = 64
RESTARTS = 100  # of one Slurm job at its time limit, so that a job which gets nowhere before it ends at last
_OURS = {"array", "comment", "error", "ntasks", "open-mode", "output", "requeue", "signal"}
_AGAIN = {"BOOT_FAIL", "NODE_FAIL", "PREEMPTED"}  # no fault of the job
_ENDED = _AGAIN | {"CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "OUT_OF_MEMORY", "REVOKED", "TIMEOUT"}
# From 22.05 on, srun does not take this from sbatch (release notes).
_CPUS = "export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}"


def parse_options(text: str) -> dict[str, str]:
    """The options of sbatch in ``partition=gpu,exclude=n1,n2``: what has no ``=`` goes on with a value.

    Raises:
        HarnessError: for options that the harness itself gives, and for none.
    """
    options: dict[str, str] = {}
    for part in re.split(r",(?=[a-zA-Z][\w-]*=)", text) if text else ():
        name, equals, value = part.strip().removeprefix("--").partition("=")
        if not (name and equals and value):
            raise HarnessError(f"--slurm takes options of sbatch, such as partition=gpu,time=4:00:00, got {part!r}")
        if name in _OURS:
            raise HarnessError(f"--slurm takes no {name!r}: the harness gives it itself")
        options[name] = value
    return options


class SlurmExecutor(Executor):
    """One Slurm job for each call, whose first argument is the id of a job in the workspace.

    At most ``workers`` are at Slurm at once. A call finds the Slurm job again that an earlier scheduler submitted for
    it. Slurm's jobs survive this process unless it shuts the executor down with ``cancel_futures``.

    Raises:
        HarnessError: where there is no Slurm or no submitit.
    """

    def __init__(self, options: Mapping[str, str], workspace: WorkspaceFiles, workers: int | None) -> None:
        if shutil.which("sbatch") is None:
            raise HarnessError("--executor slurm needs the commands of Slurm (sbatch, squeue): this machine has none")
        if find_spec("submitit") is None:
            raise HarnessError("--executor slurm needs submitit: pip install 'robustness-harness[slurm]'")
        self.workers = workers or AT_ONCE
        self._options, self._workspace = dict(options), workspace
        self._tasks: deque[_Task] = deque()
        self._running: dict[str, _Task] = {}
        self._gone: set[str] = set()
        self._changed = threading.Condition()
        self._closing = self._cancelling = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def submit(self, call: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have Slurm run ``call(*args, device)``; ``call`` and ``args`` must pickle."""
        future: Future[T] = Future()
        folder = self._workspace.job(args[0]).slurm if args else self._workspace.slurm
        with self._changed:
            self._tasks.append((future, partial(call, *args, **kwargs), folder))
            self._changed.notify()
        return future

    def everywhere(self, call: Callable[[str], T]) -> list[Future[T]]:
        """Run ``call(device)`` on one node, wherever Slurm has one."""
        return [self.submit(call)]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let all calls finish; with ``cancel_futures``, drop them and cancel the Slurm jobs at once."""
        with self._changed:
            self._closing, self._cancelling = True, cancel_futures
            self._changed.notify()
        if wait:
            self._thread.join()

    def _serve(self) -> None:
        """Submit what there is room for and look after what runs, until the executor is shut down and all is done."""
        while True:
            with self._changed:
                if not self._cancelling and (self._running or not self._tasks) and not self._may_end():
                    self._changed.wait(POLL_SECONDS)
                if self._may_end():
                    break
            if self._tasks or self._running:
                self._look()
        if self._running:
            subprocess.run(["scancel", *self._running], check=False, capture_output=True)
        for future, *_ in self._running.values():
            future.set_exception(WorkerDied("the Slurm job was cancelled"))
        for future, *_ in self._tasks:
            future.cancel()

    def _may_end(self) -> bool:
        return self._cancelling or (self._closing and not self._tasks and not self._running)

    def _look(self) -> None:
        """Ask Slurm once for all jobs; while it does not answer, nothing is submitted and nothing given up."""
        try:
            states = _states()
        except (OSError, subprocess.SubprocessError) as error:
            log.warning("squeue does not answer, and is asked again: %s", getattr(error, "stderr", None) or error)
            with self._changed:
                self._changed.wait(POLL_SECONDS)
            return
        for slurm_id in list(self._running):
            self._settle(slurm_id, states[slurm_id].state if slurm_id in states else "UNKNOWN")
        theirs = {job.folder: slurm_id for slurm_id, job in states.items() if job.state not in _ENDED}
        while self._tasks and len(self._running) < self.workers and not self._cancelling:
            future, call, folder = task = self._tasks.popleft()
            if not future.running() and not future.set_running_or_notify_cancel():
                continue
            try:
                self._running[theirs.get(str(folder)) or _sbatch(call, folder, self._options)] = task
            except Exception as error:  # an option that Slurm refuses, a full disk
                future.set_exception(error)

    def _settle(self, slurm_id: str, state: str) -> None:
        """Pass on what the Slurm job left, or why it left nothing, once it has ended."""
        from submitit import SlurmJob

        future, _, folder = task = self._running[slurm_id]
        job: SlurmJob[tuple[bool, Any]] = SlurmJob(folder, slurm_id)
        if not job.paths.result_pickle.exists():
            if state not in _ENDED | {"UNKNOWN"}:
                self._gone.discard(slurm_id)
                return
            if slurm_id not in self._gone:  # a shared folder shows a file somewhat later than it was written
                self._gone.add(slurm_id)
                return
        del self._running[slurm_id]
        if state in _AGAIN:
            self._tasks.append(task)
            return
        try:
            succeeded, value = job.result() if job.paths.result_pickle.exists() else (False, _lost(job, state))
        except Exception as error:  # an answer that does not pickle
            succeeded, value = False, error
        (future.set_result if succeeded else future.set_exception)(value)


class _Seen(NamedTuple):
    """What Slurm says of one of its jobs."""

    state: str
    folder: str


def _states() -> dict[str, _Seen]:
    """All Slurm jobs of this user by their ids, those that ended a short while ago among them."""
    command = ["squeue", "--me", "--states=all", "--noheader", "--format=%i|%T|%k"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return {slurm_id: _Seen(state, folder) for slurm_id, state, folder in (line.split("|", 2) for line in lines)}


def _sbatch(call: Callable[..., Any], folder: Path, options: Mapping[str, str]) -> str:
    """Submit the call: the Slurm job's id. Its comment is the folder, by which a later scheduler finds it."""
    from submitit import SlurmExecutor as Submitter

    for old in folder.glob("*_result.pkl"):  # a Slurm that was set up anew counts from 1 again
        old.unlink()
    submitter = Submitter(folder)
    name = folder.parent.name
    submitter.update_parameters(
        job_name=name, comment=str(folder), time=None, setup=[_CPUS], additional_parameters=dict(options)
    )
    return str(submitter.submit(_work, call).job_id)


def _work(call: Callable[[str], Any]) -> tuple[bool, Any]:
    """What the Slurm job does: the call, on the devices that Slurm gave it."""
    signal.signal(signal.SIGUSR2, _requeue)
    (slot, *_) = default_slots(1)
    slot.occupy()
    return slot.answer(call)


def _requeue(signum: int, frame: FrameType | None) -> None:
    """The time limit is near, or others come first: start again later, from what the job saved of its state.

    Nothing that a job catches may be raised here; it would pass for the job's own failure.
    """
    if int(os.environ.get("SLURM_RESTART_COUNT", "0")) < RESTARTS:
        subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=False)
    os._exit(1)


def _lost(job: "SlurmJob[Any]", state: str) -> WorkerDied:
    said = (job.stderr() or "").strip().rpartition("\n")[2]
    return WorkerDied(f"Slurm job {job.job_id} ended without a result: {state}. {said or 'It printed nothing'}")
