"""Runs the job graph on an executor, records every outcome in the store, and resumes whatever was cut off."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Protocol

from harness.compute.files import save_text
from harness.plan.graph import Job
from harness.run.executors.local import WorkerDied
from harness.run.repair import make_way, reopen, write_spec
from harness.run.waiting import Waiting
from harness.run.worker import JobFailed, run_job, save_failure
from harness.run.workspace import Workspace
from results.checksums import check
from results.errors import Damaged, JobUnreadable
from results.store import TOGETHER, Store

POLL_SECONDS = 0.5


class Observer(Protocol):
    """Who wants to know how the run goes."""

    def begin(self, jobs: Sequence[Job]) -> object:
        """The run starts with these jobs; those that have a result are done."""

    def started(self, job: Job) -> None:
        """The job was handed to the executor."""

    def finished(self, job: Job) -> None:
        """The job is done and in the store."""

    def failed(self, job: Job, message: str, *, retrying: bool) -> None:
        """The job ended with an error."""

    def tick(self) -> None:
        """Some time has passed: look at the job directories for progress."""


@dataclass
class Outcome:
    """What became of each job: ids by fate; ``failed`` and ``blocked`` carry the reason."""

    reused: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)


class Scheduler:
    """Submits each job of one graph once everything it needs is done. One failed job stops only those that need it.

    The scheduler is the only writer to the store; workers write files, so nothing is lost when any process dies. What
    ended together is stored together.
    """

    def __init__(
        self, workspace: Workspace, store: Store, executor: Executor, observer: Observer, *, retries: int = 1
    ) -> None:
        self.workspace, self.store, self.executor, self.observer = workspace, store, executor, observer
        self.retries = retries
        self._outcome, self._waiting = Outcome(), Waiting[Job]((), ())
        self._running: dict[Future[None], tuple[Job, int]] = {}
        self._ended: SimpleQueue[Future[None]] = SimpleQueue()

    def run(self, jobs: Sequence[Job]) -> Outcome:
        """Run the graph to its end; a ``KeyboardInterrupt`` leaves every finished job recorded."""
        settled = self._done_before(jobs)
        self._outcome.reused += [job.id for job in jobs if job.id in settled]
        self.observer.begin(jobs)
        self._waiting, ticked = Waiting(jobs, settled), time.monotonic()
        try:
            for job in self._waiting.ready:
                self._submit(job, 1)
            while self._running:
                self._settle(self._next())
                if time.monotonic() - ticked >= POLL_SECONDS:
                    self.observer.tick()
                    ticked = time.monotonic()
        except KeyboardInterrupt:
            self.store.ingest_all(self.workspace.jobs)
            raise
        return self._outcome

    def _done_before(self, jobs: Sequence[Job]) -> set[str]:
        """The jobs that are done, all of them in the store; one that others still need must be whole.

        A job comes after those it needs, so the last is looked at first.
        """
        done: set[str] = set()
        needed: set[str] = set()
        stored = self.store.done()
        for job in reversed(jobs):
            if self._is_done(job, stored=job.id in stored, whole=job.id in needed):
                done.add(job.id)
            else:
                needed.update(job.needs)
        return done

    def _is_done(self, job: Job, *, stored: bool, whole: bool) -> bool:
        """Damaged jobs are made ready to be done again."""
        files = self.workspace.job(job.id)
        if not files.result.exists():
            return False
        try:
            write_spec(files, job.spec)
            if not stored:
                self.store.ingest(files.directory)
            if whole:
                check(files, *files.foundation)
        except Damaged as damage:
            self.store.remove([job.id])
            reopen(files, damage)
            return False
        except (JobUnreadable, OSError):  # that is this job's failure, once it is tried
            return False
        return True

    def _submit(self, job: Job, tries: int) -> None:
        files = self.workspace.job(job.id)
        try:
            make_way(files)
            write_spec(files, job.spec)
            if self.workspace.command and not files.command.exists():
                save_text(files.command, self.workspace.command, flushed=False)
        except OSError as error:
            self._fail(job, str(error))
            return
        self.observer.started(job)
        call: Callable[..., None] = run_job
        future = self.executor.submit(call, job.id, self.workspace, shards=job.shards)
        self._running[future] = (job, tries)
        future.add_done_callback(self._ended.put)

    def _next(self) -> list[Future[None]]:
        """What has ended, a few hundred at most; none where nothing does for a while."""
        ended: list[Future[None]] = []
        with suppress(Empty):
            ended.append(self._ended.get(timeout=POLL_SECONDS))
            while len(ended) < TOGETHER:
                ended.append(self._ended.get_nowait())
        return ended

    def _settle(self, ended: Sequence[Future[None]]) -> None:
        ends = [(*self._running.pop(future), future.exception()) for future in ended]
        lacking = self._store([job for job, _, error in ends if error is None])
        failed = []
        for job, tries, raised in ends:
            error = raised or lacking.get(job.id)
            if error is None:
                self._outcome.done.append(job.id)
                self.observer.finished(job)
                for each in self._waiting.done(job):
                    self._submit(each, 1)
            elif tries <= self.retries and _may_pass(error):
                self.observer.failed(job, str(error), retrying=True)
                time.sleep(POLL_SECONDS)
                self._submit(job, tries + 1)
            else:
                if not isinstance(error, JobFailed):  # the worker had no time to say so
                    save_failure(self.workspace.job(job.id), str(error))
                self._fail(job, str(error))
                failed.append(job)
        self._store(failed)

    def _store(self, jobs: Sequence[Job]) -> dict[str, JobUnreadable]:
        """Store what came of these jobs; by id, why that is nothing."""
        if not jobs:
            return {}
        every = [self.workspace.job(job.id) for job in jobs]
        lacking: dict[str, JobUnreadable] = {}
        for files, found in zip(every, self.store.ingest_several([each.directory for each in every]), strict=True):
            if isinstance(found, JobUnreadable):
                lacking[files.id] = found
            elif not files.result.exists():
                lacking[files.id] = JobUnreadable(f"the worker left no {files.result}")
        return lacking

    def _fail(self, job: Job, message: str) -> None:
        self.observer.failed(job, message, retrying=False)
        self._outcome.failed[job.id] = message
        for each, need in self._waiting.lost(job.id):
            self._outcome.blocked.setdefault(each.id, f"needs {need}, which failed")


def _may_pass(error: BaseException) -> bool:
    """Whether another try could end otherwise."""
    return isinstance(error, WorkerDied) or (isinstance(error, JobFailed) and error.retry)
