"""What the job directories say about a workspace, read without torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.api.errors import HarnessError
from results.layout import JobFiles, WorkspaceFiles


@dataclass(frozen=True)
class JobState:
    """One job: ``state`` is done, failed, running, or pending (not started, or cut off: the next run resumes it)."""

    id: str
    title: str
    state: str
    detail: str


def read_progress(files: JobFiles) -> dict[str, Any]:
    """What the job's worker last said: ``epoch`` of ``epochs``, or ``examples`` of ``of``; empty before it starts."""
    return _read(files.progress)


def describe(progress: dict[str, Any]) -> str:
    """One phrase for what :func:`read_progress` found."""
    if "epoch" in progress:
        return f"epoch {progress['epoch']}/{progress['epochs']}"
    return f"{progress['examples']}/{progress['of']} examples" if "of" in progress else ""


def survey(workspace: Path) -> list[JobState]:
    """The state of every job in the workspace, in the order of their directories' names.

    Raises:
        HarnessError: if there is no such workspace.
    """
    jobs = WorkspaceFiles(workspace).jobs
    if not jobs.is_dir():
        raise HarnessError(f"{workspace} holds no jobs: start with harness run --workspace {workspace}")
    every = (JobFiles(directory) for directory in sorted(jobs.iterdir()))
    return [_state(files) for files in every if files.spec.exists()]


def _state(files: JobFiles) -> JobState:
    title = _title(_read(files.spec))
    if files.result.exists():
        return JobState(files.id, title, "done", f"{_read(files.result).get('seconds', 0):.0f} s")
    if _locked(files.lock):
        return JobState(files.id, title, "running", describe(read_progress(files)))
    if files.failure.exists():
        error = _read(files.failure).get("error", "")
        return JobState(files.id, title, "failed", f"{error} (log: {files.log})")
    return JobState(files.id, title, "pending", "")


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return content


def _title(spec: dict[str, Any]) -> str:
    train = spec.get("train", spec)
    words = [
        train.get("dataset", {}).get("name"),
        train.get("method", {}).get("name"),
        f"seed {train.get('seed')}",
    ]
    if "checkpoint" in spec:
        words += [spec["checkpoint"], spec.get("attack", {"name": "diagnosis"})["name"]]
    return " ".join(str(word) for word in words)


def _locked(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
