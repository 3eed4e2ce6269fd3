"""How long the rest of a run will take, by what jobs like those that are left have taken; read without torch."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from harness.run.costs import Kind, read_costs
from harness.run.status import read_progress, read_result
from results.layout import WorkspaceFiles

_MINUTE, _LONG = 60, 2 * 3600  # seconds
_Kinds = tuple[Kind, ...]


class Timed(Protocol):
    """A job whose time can be told."""

    @property
    def id(self) -> str:
        """Names its directory."""

    @property
    def title(self) -> str:
        """What it is called."""

    @property
    def kinds(self) -> _Kinds:
        """What it may be compared with for the time it takes, the nearest first."""


class Left(NamedTuple):
    """Seconds until the end; ``known`` is false where some jobs are like none that is done."""

    seconds: float
    known: bool

    def __str__(self) -> str:
        """``about 12 min left``, ``more than 12 min left``; empty where nothing is known, or nothing is left."""
        if self.seconds < _MINUTE:
            return "less than a minute left" if self.known and self.seconds else ""
        minutes = round(self.seconds / _MINUTE)
        text = f"{minutes} min" if self.seconds < _LONG else f"{minutes // 60} h {minutes % 60} min"
        return f"{'about' if self.known else 'more than'} {text} left"


class Pace:
    """What jobs took in a workspace: those of one attack and method, else of one attack, or any training.

    ``waiting`` counts the jobs that are not done, by kind. Kinds of which none is done take what the workspace's file
    of costs says; jobs that were done on another kind of device than its figures are of say nothing.
    """

    def __init__(self, workspace: WorkspaceFiles, jobs: Iterable[Timed]) -> None:
        self.workspace = workspace
        self.waiting: Counter[_Kinds] = Counter()
        self.costs = read_costs(workspace.costs)
        self._devices = {device_kind(cost.device) for cost in self.costs.values() if cost.device}
        self._taken: dict[Kind, list[float]] = defaultdict(lambda: [0.0, 0.0])  # seconds, jobs
        self._learnt: set[str] = set()
        for job in jobs:
            self.waiting[job.kinds] += 1
            if workspace.job(job.id).result.exists():
                self.learn(job)

    def learn(self, job: Timed) -> None:
        """Take note, once, of a job that is done; one whose outcome was copied, or is damaged, says nothing."""
        if job.id in self._learnt:
            return
        self._learnt.add(job.id)
        self.waiting[job.kinds] -= 1
        result = read_result(self.workspace.job(job.id))
        elsewhere = self._devices and device_kind(result.get("device", "")) not in self._devices
        if "seconds" in result and "same_as" not in result and not elsewhere:
            for kind in job.kinds:
                self._taken[kind][0] += result["seconds"]
                self._taken[kind][1] += 1

    def is_done(self, job: Timed) -> bool:
        """Whether the job was done when this was made, or has been learnt of since."""
        return job.id in self._learnt

    def left(self, running: Iterable[Timed], workers: int) -> Left:
        """For all that wait, on so many workers, less what the running ones have done of their epochs or examples."""
        expected = {kind: self.expected(kind) for kind, count in self.waiting.items() if count}
        seconds = sum(self.waiting[kind] * (each or 0.0) for kind, each in expected.items())
        seconds -= sum((expected.get(job.kinds) or 0.0) * self._share(job) for job in running)
        return Left(max(seconds, 0.0) / workers, None not in expected.values())

    def expected(self, kinds: _Kinds) -> float | None:
        """Seconds of a job by the nearest kind of which any is done or in the file of costs; None without one."""
        for kind in kinds:
            seconds, count = self.taken(kind)
            if count:
                return seconds / count
            if kind in self.costs:
                return self.costs[kind].seconds
        return None

    def taken(self, kind: Kind) -> tuple[float, int]:
        """How many seconds all jobs of a kind that are done have taken, and how many there are."""
        seconds, count = self._taken.get(kind, (0.0, 0.0))
        return seconds, int(count)

    def _share(self, job: Timed) -> float:
        progress = read_progress(self.workspace.job(job.id))
        done, total = progress.get("epoch", progress.get("examples", 0)), progress.get("epochs", progress.get("of"))
        return done / total if total else 0.0


def device_kind(device: str) -> str:
    """The name of a device without what differs between runs on it: ``cpu (2 threads)`` is a ``cpu``."""
    return device.partition(" (")[0]
