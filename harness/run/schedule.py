"""How long a graph of jobs takes on so many devices, by simulation; read without torch."""

from collections import deque
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from harness.run.waiting import Node, Waiting


class Simulated(NamedTuple):
    """Seconds until the last job is done, and how many of them the devices are at work, all together."""

    seconds: float
    busy: float

    def use(self, devices: int) -> float:
        """The share of the devices' time in which they work."""
        return self.busy / (self.seconds * devices) if self.seconds else 1.0


def simulate(jobs: Sequence[Node], seconds: Mapping[str, float], devices: int) -> Simulated:
    """As scheduler and executors do it: a job is queued once all that it needs is done; first come, first served.

    ``seconds`` are those of each job by its id, on one device; what is needed and not among the jobs is done already.
    """
    order = {job.id: place for place, job in enumerate(jobs)}
    waiting = Waiting(jobs, {need for job in jobs for need in job.needs} - order.keys())
    ready, running = deque(waiting.ready), list[tuple[float, int, Node]]()
    now = 0.0
    while ready or running:
        while ready and len(running) < devices:
            job = ready.popleft()
            heappush(running, (now + seconds[job.id], order[job.id], job))
        now, _, ended = heappop(running)
        ready.extend(waiting.done(ended))
    return Simulated(now, sum(seconds[name] for name in order))
