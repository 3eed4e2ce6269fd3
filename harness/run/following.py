"""A run seen from another process: what its plan and the job directories say, read without torch."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.compute.files import save_text
from harness.run.pace import Pace, Timed
from harness.run.status import JobState, state_of
from results.layout import JobFiles, WorkspaceFiles


class Planned(NamedTuple):
    """A job of a plan, as much of it as is kept for whoever follows the run."""

    id: str
    title: str
    kinds: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Standing:
    """How far a workspace is: how many jobs are ``done`` and ``waiting``, and which are running and have failed.

    ``left`` is the time until all of them are done, in words; empty where it is not known.
    """

    done: int
    waiting: int
    running: Sequence[JobState]
    failed: Sequence[JobState]
    left: str


def save_plan(workspace: WorkspaceFiles, jobs: Iterable[Timed], workers: int) -> None:
    """Keep what a run is about to do, on so many workers, for :class:`Follower`."""
    kept = [Planned(job.id, job.title, job.kinds) for job in jobs]
    save_text(workspace.plan, json.dumps({"workers": workers, "jobs": kept}))


class Follower:
    """Looks at a workspace again and again, which another process may be working in, or nobody."""

    def __init__(self, workspace: WorkspaceFiles) -> None:
        self.workspace = workspace
        self._plan, self._workers, self._read = dict[str, Planned](), 1, b""
        self._pace = Pace(workspace, ())

    @property
    def planned(self) -> Mapping[str, Planned]:
        """The jobs of the last run, by id."""
        self._reread()
        return self._plan

    def look(self) -> Standing:
        """The jobs of the last run and all others in the workspace, as they are now."""
        self._reread()
        directories = self.workspace.jobs.glob("*/spec.json")
        names = sorted(self._plan.keys() | {spec.parent.name for spec in directories})
        done = {name for name in names if self.workspace.job(name).result.exists()}
        for name in done & self._plan.keys():
            self._pace.learn(self._plan[name])
        open_jobs = [self._state(self.workspace.job(name)) for name in names if name not in done]
        running = [job for job in open_jobs if job.state == "running"]
        failed = [job for job in open_jobs if job.state in ("failed", "cancelled")]
        waiting = len(open_jobs) - len(running) - len(failed)
        left = self._pace.left([self._plan[job.id] for job in running if job.id in self._plan], self._workers)
        return Standing(len(done), waiting, running, failed, str(left) if running else "")

    def _reread(self) -> None:
        """Take in the plan where it is another than before."""
        try:
            content = self.workspace.plan.read_bytes()
        except OSError:
            return
        if content != self._read:
            kept, self._read = json.loads(content), content
            jobs = [Planned(name, title, tuple(map(tuple, kinds))) for name, title, kinds in kept["jobs"]]
            self._plan, self._workers = {job.id: job for job in jobs}, kept["workers"]
            self._pace = Pace(self.workspace, jobs)

    def _state(self, files: JobFiles) -> JobState:
        """As the job's directory says; the plan knows a better title, and jobs that have no directory yet."""
        state = state_of(files)
        planned = self._plan.get(files.id)
        return JobState(state.id, planned.title, state.state, state.detail) if planned else state
