"""How a run shows itself: a live display on a terminal, plain lines elsewhere, nothing when quiet."""

import time
from collections.abc import Sequence
from itertools import islice

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from harness.plan.graph import Job
from harness.run.pace import Left, Pace
from harness.run.status import describe, read_progress, read_result
from harness.run.workspace import Workspace
from results.layout import JobFiles

HEARTBEAT_SECONDS = 60.0


class Silent:
    """Says nothing. ``workers`` is how many jobs run at once."""

    def __init__(self, workspace: Workspace, console: Console, workers: int) -> None:
        self.workspace, self.console, self.workers = workspace, console, workers
        self.running: dict[str, Job] = {}
        self.pace = Pace(workspace, ())

    def begin(self, jobs: Sequence[Job]) -> int:
        """The run starts with these jobs; how many of them are done already."""
        self.pace = Pace(self.workspace, jobs)
        return len(jobs) - self.pace.waiting.total()

    def left(self) -> Left:
        """The time until the end of the run; executors take jobs in their order, so the first ones are at work."""
        return self.pace.left(islice(self.running.values(), self.workers), self.workers)

    def end(self) -> None:
        """The run is over."""

    def started(self, job: Job) -> None:
        """The job was handed to the executor."""
        self.running[job.id] = job

    def finished(self, job: Job) -> None:
        """The job is done and in the store."""
        self.running.pop(job.id, None)
        self.pace.learn(job)

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

    def begin(self, jobs: Sequence[Job]) -> int:
        """Say how much there is to do."""
        reused = super().begin(jobs)
        self.total, self.count = len(jobs), reused
        self.spoken = time.monotonic()
        self._say(f"{len(jobs)} jobs, {reused} done before{_after(self.left())}")
        return reused

    def finished(self, job: Job) -> None:
        """Count the job and say so."""
        super().finished(job)
        self.count += 1
        outcome = _outcome(self.workspace.job(job.id))
        self._say(f"[{self.count}/{self.total}] {job.title}: {outcome}{_after(self.left())}")

    def tick(self) -> None:
        """A heartbeat with the running jobs."""
        if time.monotonic() - self.spoken >= HEARTBEAT_SECONDS:
            said = [(job, read_progress(self.workspace.job(job.id))) for job in self.running.values()]
            running = ", ".join(f"{job.title} {describe(p)}".strip() for job, p in said if p)
            self._say(f"running: {running}{_after(self.left())}")

    def _say(self, text: str) -> None:
        self.spoken = time.monotonic()
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class Live(Silent):
    """A bar for the whole run and one for each running job, with the time left."""

    def begin(self, jobs: Sequence[Job]) -> int:
        """Start the display."""
        reused = super().begin(jobs)
        self.display = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            _TimeLeft(),
            console=self.console,
            transient=True,
        )
        self.whole = self.display.add_task(
            "jobs", total=len(jobs), completed=reused, unit="jobs", left=str(self.left())
        )
        self.bars: dict[str, TaskID] = {}
        self.display.start()
        return reused

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
        self.display.update(self.whole, left=str(self.left()))
        for job in self.running.values():
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


class _TimeLeft(TimeRemainingColumn):
    """The whole run's time by what its jobs took, which differ in kind; a job's by its own steps, which do not."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["left"]) if "left" in task.fields else super().render(task)


def _after(left: Left) -> str:
    return f"; {left}" if str(left) else ""


def _outcome(files: JobFiles) -> str:
    result = read_result(files)
    seconds = f"{result['seconds']:.0f} s"
    if "examples" in result:
        return f"{100 * result['correct'] / max(result['examples'], 1):.2f} % of {result['examples']} right, {seconds}"
    if "images" in result:
        return f"of {result['images']} images, {seconds}"
    if "verdict" in result:
        codes = ", ".join(finding["code"] for finding in result["findings"])
        return f"{result['verdict']}{f' ({codes})' if codes else ''}, {seconds}"
    return f"{result['epochs']} epochs, best {result['best_epoch']}, {seconds}"
