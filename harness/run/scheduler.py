"""Runs the job graph on an executor, records every outcome in the store, and resumes whatever was cut off."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from typing import Protocol

from harness.compute.files import save_text
from harness.plan.graph import Job
from harness.run.executors.local import WorkerDied
from harness.run.repair import make_way, reopen, write_spec
from harness.run.worker import JobFailed, run_job, save_failure
from harness.run.workspace import Workspace
from results.checksums import check
from results.errors import Damaged, JobUnreadable
from results.layout import JobFiles
from results.store import Store

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
    """Submits each job once everything it needs is done. One failed job stops only those that need it.

    The scheduler is the only writer to the store; workers write files, so nothing is lost when any process dies.
    """

    def __init__(
        self, workspace: Workspace, store: Store, executor: Executor, observer: Observer, *, retries: int = 1
    ) -> None:
        self.workspace, self.store, self.executor, self.observer = workspace, store, executor, observer
        self.retries = retries

    def run(self, jobs: Sequence[Job]) -> Outcome:
        """Run the graph to its end; a ``KeyboardInterrupt`` leaves every finished job recorded."""
        settled = self._done_before(jobs)
        outcome = Outcome(reused=[job.id for job in jobs if job.id in settled])
        self.observer.begin(jobs)
        waiting = [job for job in jobs if job.id not in settled]
        running: dict[Future[None], tuple[Job, int]] = {}
        try:
            while waiting or running:
                waiting = self._submit_ready(waiting, settled, running, outcome)
                for future in wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED).done:
                    job, tries = running.pop(future)
                    self._settle(job, tries, future, settled, running, outcome)
                self.observer.tick()
        except KeyboardInterrupt:
            self.store.ingest_all(self.workspace.jobs)
            raise
        return outcome

    def _done_before(self, jobs: Sequence[Job]) -> set[str]:
        """The jobs that are done, all of them in the store; one that others still need must be whole.

        A job comes after those it needs, so the last is looked at first.
        """
        done: set[str] = set()
        needed: set[str] = set()
        for job in reversed(jobs):
            if self._is_done(job, whole=job.id in needed):
                done.add(job.id)
            else:
                needed.update(job.needs)
        return done

    def _is_done(self, job: Job, *, whole: bool) -> bool:
        """Damaged jobs are made ready to be done again."""
        files = self.workspace.job(job.id)
        if not files.result.exists():
            return False
        try:
            write_spec(files, job.spec)
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

    def _submit_ready(
        self,
        waiting: list[Job],
        settled: set[str],
        running: dict[Future[None], tuple[Job, int]],
        outcome: Outcome,
    ) -> list[Job]:
        still_waiting = []
        for job in waiting:
            lost = next((need for need in job.needs if need in outcome.failed or need in outcome.blocked), None)
            if lost:
                outcome.blocked[job.id] = f"needs {lost}, which failed"
            elif settled.issuperset(job.needs):
                self._submit(job, 1, running, outcome)
            else:
                still_waiting.append(job)
        return still_waiting

    def _submit(self, job: Job, tries: int, running: dict[Future[None], tuple[Job, int]], outcome: Outcome) -> None:
        files = self.workspace.job(job.id)
        try:
            make_way(files)
            write_spec(files, job.spec)
            if self.workspace.command and not files.command.exists():
                save_text(files.command, self.workspace.command)
        except OSError as error:
            self._fail(job, str(error), outcome)
            return
        self.observer.started(job)
        call: Callable[..., None] = run_job
        future = self.executor.submit(call, job.id, self.workspace, shards=job.shards)
        running[future] = (job, tries)

    def _settle(
        self,
        job: Job,
        tries: int,
        future: Future[None],
        settled: set[str],
        running: dict[Future[None], tuple[Job, int]],
        outcome: Outcome,
    ) -> None:
        files = self.workspace.job(job.id)
        error = future.exception() or self._not_stored(files)
        if error is None:
            outcome.done.append(job.id)
            settled.add(job.id)
            self.observer.finished(job)
            return
        again = tries <= self.retries and (
            isinstance(error, WorkerDied) or (isinstance(error, JobFailed) and error.retry)
        )
        if again:
            self.observer.failed(job, str(error), retrying=True)
            time.sleep(POLL_SECONDS)
            self._submit(job, tries + 1, running, outcome)
            return
        if not isinstance(error, JobFailed):  # the worker had no time to say so
            save_failure(files, str(error))
        self._fail(job, str(error), outcome)
        self._not_stored(files)

    def _not_stored(self, files: JobFiles) -> JobUnreadable | None:
        """Store what came of the job; why that is nothing, if so."""
        try:
            self.store.ingest(files.directory)
        except JobUnreadable as error:
            return error
        return None if files.result.exists() else JobUnreadable(f"the worker left no {files.result}")

    def _fail(self, job: Job, message: str, outcome: Outcome) -> None:
        self.observer.failed(job, message, retrying=False)
        outcome.failed[job.id] = message
