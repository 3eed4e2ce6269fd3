"""How a run shows itself: a live display on a terminal, plain lines elsewhere, nothing when quiet."""

import json
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from harness.plan.graph import Job
from harness.run.status import describe, read_progress
from harness.run.workspace import Workspace
from results.layout import JobFiles

HEARTBEAT_SECONDS = 60.0


class Silent:
    """Says nothing."""

    def __init__(self, workspace: Workspace, console: Console) -> None:
        self.workspace, self.console = workspace, console
        self.running: dict[str, tuple[Job, float]] = {}

    def begin(self, jobs: Sequence[Job], reused: int) -> None:
        """The run starts with these jobs, of which so many are done already."""

    def end(self) -> None:
        """The run is over."""

    def started(self, job: Job) -> None:
        """The job was handed to the executor."""
        self.running[job.id] = (job, time.monotonic())

    def finished(self, job: Job) -> None:
        """The job is done and in the store."""
        self.running.pop(job.id, None)

    def failed(self, job: Job, message: str, *, retrying: bool) -> None:
        """The job ended with an error: always said, with the log's place."""
        self.running.pop(job.id, None)
        again = "; trying again" if retrying else ""
        log = self.workspace.job(job.id).log
        self.console.print(
            f"failed: {job.title}: {message} (log: {log}){again}", style="red", markup=False, soft_wrap=True
        )

    def tick(self) -> None:
        """Some time has passed."""


class Lines(Silent):
    """One line for each finished job, and now and then what is running."""

    def begin(self, jobs: Sequence[Job], reused: int) -> None:
        """Say how much there is to do."""
        self.total, self.count = len(jobs), reused
        self.spoken = time.monotonic()
        self._say(f"{len(jobs)} jobs, {reused} done before")

    def finished(self, job: Job) -> None:
        """Count the job and say so."""
        super().finished(job)
        self.count += 1
        self._say(f"[{self.count}/{self.total}] {job.title}: {_outcome(self.workspace.job(job.id))}")

    def tick(self) -> None:
        """A heartbeat with the running jobs."""
        if time.monotonic() - self.spoken >= HEARTBEAT_SECONDS:
            said = [(job, read_progress(self.workspace.job(job.id))) for job, _ in self.running.values()]
            self._say("running: " + ", ".join(f"{job.title} {describe(p)}" for job, p in said if p))

    def _say(self, text: str) -> None:
        self.spoken = time.monotonic()
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class Live(Silent):
    """A bar for the whole run and one for each running job, with the time left."""

    def begin(self, jobs: Sequence[Job], reused: int) -> None:
        """Start the display."""
        self.display = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.whole = self.display.add_task("jobs", total=len(jobs), completed=reused, unit="jobs")
        self.bars: dict[str, TaskID] = {}
        self.display.start()

    def end(self) -> None:
        """Take the display away."""
        self.display.stop()

    def finished(self, job: Job) -> None:
        """Advance the bar of the run."""
        super().finished(job)
        self._drop(job)
        self.display.advance(self.whole)

    def failed(self, job: Job, message: str, *, retrying: bool) -> None:
        """Say it above the bars."""
        super().failed(job, message, retrying=retrying)
        self._drop(job)

    def tick(self) -> None:
        """Update the bars from the job directories."""
        for job, _ in self.running.values():
            progress = read_progress(self.workspace.job(job.id))
            done, total = (
                progress.get("epoch", progress.get("examples")),
                progress.get("epochs", progress.get("of")),
            )
            if total is None:
                continue
            unit = "epochs" if "epochs" in progress else "examples"
            if job.id not in self.bars:
                self.bars[job.id] = self.display.add_task(f"  {job.title}", total=total, unit=unit)
            self.display.update(self.bars[job.id], completed=done)

    def _drop(self, job: Job) -> None:
        if job.id in self.bars:
            self.display.remove_task(self.bars.pop(job.id))


def _outcome(files: JobFiles) -> str:
    result = json.loads(files.result.read_text())
    seconds = f"{result['seconds']:.0f} s"
    if "examples" in result:
        return f"{100 * result['correct'] / max(result['examples'], 1):.2f} % of {result['examples']} right, {seconds}"
    if "verdict" in result:
        codes = ", ".join(finding["code"] for finding in result["findings"])
        return f"{result['verdict']}{f' ({codes})' if codes else ''}, {seconds}"
    return f"{result['epochs']} epochs, best {result['best_epoch']}, {seconds}"
