"""Runs the job graph on an executor, records every outcome in the store, and resumes whatever was cut off."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from typing import Protocol

from harness.api.errors import HarnessError
from harness.compute.files import save_text
from harness.plan.graph import Job
from harness.run.executors.local import WorkerDied
from harness.run.worker import JobFailed, run_job
from harness.run.workspace import Workspace
from results.store import Store

POLL_SECONDS = 0.5


class Observer(Protocol):
    """Who wants to know how the run goes."""

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
        outcome = Outcome()
        settled: set[str] = set()
        for job in jobs:
            if self.workspace.job(job.id).result.exists():
                self._ingest_done(job.id)
                outcome.reused.append(job.id)
                settled.add(job.id)
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

    def _ingest_done(self, job_id: str) -> None:
        directory = self.workspace.job(job_id).directory
        try:
            self.store.ingest(directory)
        except HarnessError as error:
            raise HarnessError(f"{error}; delete {directory} to do this job again") from error

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
                self._submit(job, 1, running)
            else:
                still_waiting.append(job)
        return still_waiting

    def _submit(self, job: Job, tries: int, running: dict[Future[None], tuple[Job, int]]) -> None:
        files = self.workspace.job(job.id)
        if not files.spec.exists():
            save_text(files.spec, job.spec.model_dump_json(indent=1))
            if self.workspace.command:
                save_text(files.command, self.workspace.command)
        self.observer.started(job)
        call: Callable[..., None] = run_job
        future = self.executor.submit(call, job.id, self.workspace)
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
        error = future.exception()
        if error is None:
            self.store.ingest(self.workspace.job(job.id).directory)
            outcome.done.append(job.id)
            settled.add(job.id)
            self.observer.finished(job)
            return
        again = tries <= self.retries and (
            isinstance(error, WorkerDied) or (isinstance(error, JobFailed) and error.retry)
        )
        self.observer.failed(job, str(error), retrying=again)
        if again:
            time.sleep(POLL_SECONDS)
            self._submit(job, tries + 1, running)
            return
        outcome.failed[job.id] = str(error)
        files = self.workspace.job(job.id)
        if files.failure.exists():
            self.store.ingest(files.directory)
