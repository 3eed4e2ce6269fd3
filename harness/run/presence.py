"""Which runs are at work in a workspace, on whatever machine; read without torch."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

from filelock import FileLock, Timeout

from results.layout import WorkspaceFiles


def lock_of(workspace: WorkspaceFiles, process: int) -> Path:
    """What a run in this process of this machine holds."""
    return workspace.schedulers / f"{socket.gethostname()}-{process}.lock"


@contextmanager
def at_work(workspace: WorkspaceFiles) -> Iterator[None]:
    """Meanwhile :func:`is_worked_in` is true, until this process ends, however it ends.

    Where no other run is at work, what was asked of earlier ones is forgotten.
    """
    path = lock_of(workspace, os.getpid())
    path.parent.mkdir(parents=True, exist_ok=True)
    if not is_worked_in(workspace):
        rmtree(workspace.cancellations, ignore_errors=True)
    with FileLock(path):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def is_worked_in(workspace: WorkspaceFiles) -> bool:
    """Whether any run is at work there, between its jobs too."""
    return any(is_locked(path) for path in workspace.schedulers.glob("*.lock"))


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock."""
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # no file, or where nothing can be written: nobody is at work
        return False
