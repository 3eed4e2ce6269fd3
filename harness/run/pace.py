"""How long the rest of a run will take, by what jobs like those that are left have taken."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from harness.api.specs import DiagnoseSpec, EvaluateSpec
from harness.plan.graph import Job
from harness.run.status import read_progress
from harness.run.workspace import Workspace

_MINUTE, _LONG = 60, 2 * 3600  # seconds
# What a job is compared by, the nearest first.
_Kind = tuple[tuple[str, ...], ...]


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

    ``waiting`` counts the jobs that are not done, by kind.
    """

    def __init__(self, workspace: Workspace, jobs: Iterable[Job]) -> None:
        self.workspace = workspace
        self.waiting: Counter[_Kind] = Counter()
        self._taken: dict[tuple[str, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])  # seconds, jobs
        for job in jobs:
            self.waiting[_kind(job)] += 1
            if workspace.job(job.id).result.exists():
                self.learn(job)

    def learn(self, job: Job) -> None:
        """Take note of a job that is done; one whose outcome was copied says nothing of others."""
        self.waiting[_kind(job)] -= 1
        result = json.loads(self.workspace.job(job.id).result.read_text(encoding="utf-8"))
        if "same_as" not in result:
            for key in _kind(job):
                self._taken[key][0] += result["seconds"]
                self._taken[key][1] += 1

    def left(self, running: Iterable[Job], workers: int) -> Left:
        """For all that wait, on so many workers, less what the running ones have done of their epochs or examples."""
        expected = {kind: self._expected(kind) for kind, count in self.waiting.items() if count}
        seconds = sum(self.waiting[kind] * (each or 0.0) for kind, each in expected.items())
        seconds -= sum((expected.get(_kind(job)) or 0.0) * self._share(job) for job in running)
        return Left(max(seconds, 0.0) / workers, None not in expected.values())

    def _expected(self, kind: _Kind) -> float | None:
        """Mean seconds of the jobs that are nearest to it; None where none of them is done."""
        known = (self._taken[key] for key in kind if key in self._taken)
        return next((seconds / count for seconds, count in known), None)

    def _share(self, job: Job) -> float:
        progress = read_progress(self.workspace.job(job.id))
        done, total = progress.get("epoch", progress.get("examples", 0)), progress.get("epochs", progress.get("of"))
        return done / total if total else 0.0


def _kind(job: Job) -> _Kind:
    spec = job.spec
    if isinstance(spec, DiagnoseSpec):
        return ((spec.kind,),)
    if isinstance(spec, EvaluateSpec):
        return ((spec.kind, spec.attack.name, spec.train.method.name), (spec.kind, spec.attack.name))
    return ((spec.kind, spec.method.name), (spec.kind,))
