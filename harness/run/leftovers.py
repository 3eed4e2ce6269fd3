"""What a workspace holds that no result needs; read without torch."""

from collections.abc import Iterator
from pathlib import Path

from harness.run.presence import is_locked, is_worked_in
from results.layout import WorkspaceFiles

_OLD = "*.damaged*"  # kept aside when a job was done again
_PARTS = ".*.part"  # of files that were being written when their writer was killed


def leftovers(workspace: WorkspaceFiles) -> list[Path]:
    """Files and folders of jobs that are not running: what finished ones resumed from, what was kept aside or cut off.

    Where no run is at work, also what runs have left behind, and databases that a rebuild has replaced.
    """
    found = [path for directory in sorted(workspace.jobs.glob("*")) for path in _of_job(directory, workspace)]
    if not is_worked_in(workspace):
        database = workspace.database.name
        for pattern in (_PARTS, f"{database}.bak*", f".{database}-*"):
            found += sorted(workspace.root.glob(pattern))
        found += sorted((*workspace.schedulers.glob("*"), *workspace.cancellations.glob("*")))
    return found


def _of_job(directory: Path, workspace: WorkspaceFiles) -> Iterator[Path]:
    files = workspace.job(directory.name)
    if not directory.is_dir() or is_locked(files.lock):
        return
    if files.result.exists() and files.state.exists():
        yield files.state
    for pattern in (_OLD, _PARTS):
        yield from sorted(directory.glob(pattern))
    if not files.result.exists():
        yield from sorted(files.state.glob(_OLD))


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    every = [path, *path.rglob("*")] if path.is_dir() else [path]
    return sum(each.lstat().st_size for each in every if each.is_symlink() or each.is_file())
