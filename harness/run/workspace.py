"""Where a run's files lie, and what its workers need to know about this machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.datasets import located
from results.layout import WorkspaceFiles


@dataclass(frozen=True)
class Workspace(WorkspaceFiles):
    """A workspace's files, and where this machine finds the data set and the plugins of its jobs.

    ``command`` is what the user typed, which is kept with each job that it is the first to ask for.
    """

    dataset: str
    data_root: Path
    plugins: tuple[Path, ...] = ()
    command: str = ""

    @classmethod
    def at(
        cls, root: Path, dataset: str, data_root: Path, plugins: Sequence[Path] = (), command: str = ""
    ) -> "Workspace":
        """The workspace with absolute paths, so that workers find it from anywhere."""
        paths = tuple(path.resolve() for path in plugins)
        return cls(root.resolve(), located(dataset, Path.cwd()), data_root.resolve(), paths, command)
