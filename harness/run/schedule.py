"""How long a graph of jobs takes on so many devices, by simulation; read without torch."""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import NamedTuple, Protocol


class Node(Protocol):
    """A job of a graph."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The jobs that must be done before; those that are not in the graph are done already."""


class Simulated(NamedTuple):
    """Seconds until the last job is done, and how many of them the devices are at work, all together."""

    seconds: float
    busy: float

    def use(self, devices: int) -> float:
        """The share of the devices' time in which they work."""
        return self.busy / (self.seconds * devices) if self.seconds else 1.0


def simulate(jobs: Sequence[Node], seconds: Mapping[str, float], devices: int) -> Simulated:
    """As scheduler and executors do it: a job is queued once all that it needs is done; first come, first served.

    ``seconds`` are those of each job by its id, on one device.
    """
    open_jobs = {job.id for job in jobs}
    missing = {job.id: len(open_jobs.intersection(job.needs)) for job in jobs}
    followers: dict[str, list[str]] = defaultdict(list)
    for job in jobs:
        for need in open_jobs.intersection(job.needs):
            followers[need].append(job.id)
    order = {job.id: place for place, job in enumerate(jobs)}
    ready = deque(job.id for job in jobs if not missing[job.id])
    running: list[tuple[float, int, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < devices:
            name = ready.popleft()
            heappush(running, (now + seconds[name], order[name], name))
        now, _, ended = heappop(running)
        for name in sorted(followers[ended], key=order.__getitem__):
            missing[name] -= 1
            if not missing[name]:
                ready.append(name)
    return Simulated(now, sum(seconds[name] for name in open_jobs))
