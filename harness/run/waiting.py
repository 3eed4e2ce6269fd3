"""Which jobs of a graph may start, as those that they need end."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Generic, Protocol, TypeVar


class Node(Protocol):
    """A job with the ids of the jobs that must be done before."""

    @property
    def id(self) -> str:
        """What others name it by."""

    @property
    def needs(self) -> Sequence[str]:
        """The ids of those that it needs."""


N = TypeVar("N", bound=Node)


class Waiting(Generic[N]):
    """The jobs that are not ``done``; ``ready`` are those that may start at once.

    A job is looked at once for each job that it needs, however many there are.
    """

    def __init__(self, jobs: Sequence[N], done: Collection[str]) -> None:
        self.ready: list[N] = []
        self._lacking: dict[str, set[str]] = {}
        self._after: dict[str, list[N]] = defaultdict(list)
        for job in jobs:
            if job.id in done:
                continue
            self._lacking[job.id] = lacking = {need for need in job.needs if need not in done}
            for need in lacking:
                self._after[need].append(job)
            if not lacking:
                self.ready.append(job)

    def done(self, job: N) -> list[N]:
        """Those that may start now that this one is done."""
        after = self._after.pop(job.id, [])
        for each in after:
            self._lacking[each.id].discard(job.id)
        return [each for each in after if not self._lacking[each.id]]

    def lost(self, job_id: str) -> Iterator[tuple[N, str]]:
        """Those that will never start since this one failed, each with the id of that which it needs."""
        for each in self._after.pop(job_id, []):
            yield each, job_id
            yield from self.lost(each.id)
