"""What the job directories say about a workspace, read without torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.errors import HarnessError


@dataclass(frozen=True)
class JobState:
    """One job: ``state`` is done, failed, running, or pending (not started, or cut off: the next run resumes it)."""

    id: str
    title: str
    state: str
    detail: str


def read_progress(directory: Path) -> dict[str, Any]:
    """What the job's worker last said: ``epoch`` of ``epochs``, or ``examples`` of ``of``; empty before it starts."""
    return _read(directory / "progress.json")


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
    jobs = workspace / "jobs"
    if not jobs.is_dir():
        raise HarnessError(f"{workspace} holds no jobs: start with harness run --workspace {workspace}")
    return [_state(path.parent) for path in sorted(jobs.glob("*/spec.json"))]


def _state(directory: Path) -> JobState:
    title = _title(_read(directory / "spec.json"))
    if (directory / "result.json").exists():
        return JobState(directory.name, title, "done", f"{_read(directory / 'result.json').get('seconds', 0):.0f} s")
    if _locked(directory / "lock"):
        return JobState(directory.name, title, "running", describe(read_progress(directory)))
    if (directory / "failure.json").exists():
        error = _read(directory / "failure.json").get("error", "")
        return JobState(directory.name, title, "failed", f"{error} (log: {directory / 'log.txt'})")
    return JobState(directory.name, title, "pending", "")


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
