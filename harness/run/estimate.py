"""What is known of a run before it starts, and after it how right that was; read without torch."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harness.plan.graph import Job
from harness.run.pace import Pace
from harness.run.schedule import Simulated, simulate

_GAIN = 0.99  # more devices count as faster if they need less than this of the time


class Row(NamedTuple):
    """The jobs of one name: how many, how many of them are done, and for how many of each kind one of them waits.

    ``left`` are the seconds that the others take on one device (None: not known), ``memory`` the GiB that one holds at
    most. Of those that are done and whose kind is in the file of costs, ``planned`` is what that says, ``took`` what
    they did take.
    """

    name: str
    jobs: int
    done: int
    needs: Mapping[str, int]
    left: float | None
    memory: float | None
    planned: float
    took: float

    @property
    def error(self) -> float | None:
        """How much longer they took than planned, as a fraction; None where nothing can be compared."""
        return self.took / self.planned - 1 if self.planned and self.took else None


def rows(jobs: Sequence[Job], pace: Pace) -> list[Row]:
    """A row for each kind of job, attacks by name, in the order of the jobs."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(name_of(job), []).append(job)
    kinds = {job.id: job.spec.kind for job in jobs}
    return [_row(name, group, kinds, pace) for name, group in groups.items()]


def total(rows: Sequence[Row]) -> Row:
    """All of them together; what is not known counts as nothing."""
    return Row(
        "all",
        sum(row.jobs for row in rows),
        sum(row.done for row in rows),
        {},
        sum(row.left or 0.0 for row in rows),
        max((row.memory for row in rows if row.memory), default=None),
        sum(row.planned for row in rows),
        sum(row.took for row in rows),
    )


def name_of(job: Job) -> str:
    """``train``, ``diagnose``, or the name of an attack."""
    return job.spec.attack.name if job.spec.kind == "evaluate" else job.spec.kind


def _row(name: str, group: Sequence[Job], kinds: Mapping[str, str], pace: Pace) -> Row:
    open_jobs = [job for job in group if not pace.is_done(job)]
    expected = [pace.expected(job.kinds) for job in open_jobs]
    needs = [Counter(kinds[need] for need in job.needs if need in kinds) for job in group]
    most = max(needs, key=Counter.total)
    own = {job.kinds[0] for job in group}
    planned = took = 0.0
    for kind in own & pace.costs.keys():
        seconds, count = pace.taken(kind)
        planned, took = planned + count * pace.costs[kind].seconds, took + seconds
    memory = [cost.memory for kind, cost in pace.costs.items() if kind in own and cost.memory]
    known = [seconds for seconds in expected if seconds is not None]
    return Row(
        name,
        len(group),
        len(group) - len(open_jobs),
        most,
        sum(known) if len(known) == len(open_jobs) else None,
        max(memory, default=None),
        planned,
        took,
    )


def schedules(jobs: Sequence[Job], pace: Pace, devices: int) -> dict[int, Simulated]:
    """The jobs that are not done on so many devices, and on 1, 2, 4, ... as long as more of them are faster."""
    open_jobs = [job for job in jobs if not pace.is_done(job)]
    seconds = {job.id: pace.expected(job.kinds) or 0.0 for job in open_jobs}
    found = {devices: simulate(open_jobs, seconds, devices)}
    count, before = 1, float("inf")
    while (found.setdefault(count, simulate(open_jobs, seconds, count))).seconds < _GAIN * before:
        before, count = found[count].seconds, 2 * count
    return dict(sorted(found.items()))
