"""What the job directories say about a workspace, read without torch."""

import contextlib
import json
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.api.errors import HarnessError
from harness.api.specs import AnySpec, parse_spec
from harness.run.cancelling import CANCELLED
from harness.run.presence import is_locked
from results.layout import JobFiles, WorkspaceFiles

_KINDS = {"diagnose": "diagnosis"}
_MINUTE, _LONG_SILENCE = 60, 600  # seconds


@dataclass(frozen=True)
class JobState:
    """One job: ``state`` is done, damaged (done, and cannot be read), failed, cancelled, running, or pending.

    Pending is what has not started, or was cut off: the next run resumes it.
    """

    id: str
    title: str
    state: str
    detail: str


def read_progress(files: JobFiles) -> dict[str, Any]:
    """What the job's worker last said: ``epoch`` of ``epochs``, or ``examples`` of ``of``; empty before it starts."""
    return _read(files.progress)


def read_result(files: JobFiles) -> dict[str, Any]:
    """What the job's ``result.json`` says; empty if it cannot be read."""
    return _read(files.result)


def describe(progress: dict[str, Any]) -> str:
    """One phrase for what :func:`read_progress` found."""
    if "epoch" in progress:
        return f"epoch {progress['epoch']}/{progress.get('epochs')}"
    return f"{progress.get('examples')}/{progress['of']} examples" if "of" in progress else ""


def survey(workspace: Path) -> list[JobState]:
    """The state of every job in the workspace, in the order of their directories' names.

    Raises:
        HarnessError: if there is no such workspace.
    """
    return [state_of(files) for files in every_job(workspace)]


def every_job(workspace: Path) -> list[JobFiles]:
    """The files of every job in the workspace, in the order of their directories' names.

    Raises:
        HarnessError: if there is no such workspace.
    """
    jobs = WorkspaceFiles(workspace).jobs
    if not jobs.is_dir():
        raise HarnessError(f"{workspace} holds no jobs: start with harness run --workspace {workspace}")
    every = (JobFiles(directory) for directory in sorted(jobs.iterdir()))
    return [files for files in every if files.spec.exists()]


def finished_jobs(jobs: Path, kind: str) -> Iterator[tuple[JobFiles, AnySpec]]:
    """The finished jobs of a kind in the folder, with their specs; those of other versions are passed over."""
    for files in map(JobFiles, sorted(jobs.glob(f"{kind}-*"))):
        with contextlib.suppress(OSError, ValueError):  # among them: no spec of this version
            if files.result.exists():
                yield files, parse_spec(files.spec.read_text(encoding="utf-8"))


def find_id(workspace: Path, name: str, planned: Collection[str] = ()) -> str:
    """The id that begins with ``name``, of a job or of a training that is gone and whose evaluations are there.

    ``planned`` are the ids of jobs that have no directory yet, where they are meant too.

    Raises:
        HarnessError: if there is none, or several.
    """
    known = {
        own for files in every_job(workspace) for own in (files.id, str(_read(files.spec).get("train_id", files.id)))
    }
    known.update(planned)
    found = [name] if name in known else sorted(job for job in known if name and job.startswith(name))
    if len(found) == 1:
        return found[0]
    if not found:
        raise HarnessError(f"no job in {workspace} has an id that begins with {name!r}: harness results --csv has them")
    raise HarnessError(f"{len(found)} jobs have ids that begin with {name!r}, such as {found[0]} and {found[1]}")


def with_dependents(workspace: Path, wanted: Collection[str]) -> list[JobFiles]:
    """These jobs and those whose outcome would mean nothing without them.

    A training's evaluations and diagnoses, and the shards of an evaluation and the diagnoses that judged it.
    """
    chosen, every = set(wanted), [(files, _read(files.spec)) for files in every_job(workspace)]
    chosen |= {files.id for files, spec in every if str(spec.get("train_id")) in chosen}
    chosen |= {files.id for files, spec in every if str(spec.get("evaluation")) in chosen}
    chosen |= {files.id for files, spec in every if chosen.intersection(map(str, spec.get("evaluations", ())))}
    return [files for files, _ in every if files.id in chosen]


def state_of(files: JobFiles) -> JobState:
    """What the job's directory says."""
    title = _title(_read(files.spec))
    if files.result.exists():
        seconds = read_result(files).get("seconds")
        if not isinstance(seconds, int | float):
            return JobState(files.id, title, "damaged", f"{files.result} cannot be read")
        return JobState(files.id, title, "done", f"{seconds:.0f} s")
    if is_locked(files.lock):
        said = (describe(read_progress(files)), _age(read_progress(files)), _silence(files))
        return JobState(files.id, title, "running", ", ".join(filter(None, said)))
    if files.failure.exists():
        error = str(_read(files.failure).get("error", ""))
        return JobState(files.id, title, "cancelled" if error == CANCELLED else "failed", error)
    return JobState(files.id, title, "pending", "")


def _read(path: Path) -> dict[str, Any]:
    """The JSON object in the file; empty where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _title(spec: dict[str, Any]) -> str:
    if not spec:
        return "(its spec.json cannot be read)"
    train = ("train",) if "train" in spec else ()
    words = [_at(spec, *train, "dataset", "name"), _at(spec, *train, "method", "name")]
    words += ["seed", _at(spec, *train, "seed")]
    if "checkpoint" in spec:
        kind = str(spec.get("kind"))
        words += [spec["checkpoint"], _at(spec, "attack", "name") if "attack" in spec else _KINDS.get(kind, kind)]
    if spec.get("kind") == "shard":
        words += ["shard", spec.get("index"), "of", spec.get("of")]
    return " ".join(str(word) for word in words)


def _at(content: Any, *keys: str) -> Any:
    """What lies under the keys, one inside the other; None where something else is on the way."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _age(progress: dict[str, Any]) -> str:
    """How long its worker has been at the job."""
    since = progress.get("since")
    seconds = time.time() - since if isinstance(since, int | float) else 0.0
    return f"for {seconds / 60:.0f} min" if seconds >= _MINUTE else ""


def _silence(files: JobFiles) -> str:
    """How long a running job has said nothing, if that is long; where a clock was put back, it is not."""
    said = [path.stat().st_mtime for path in (files.progress, files.log) if path.exists()]
    seconds = time.time() - max(said) if said else 0.0
    return f"nothing heard for {seconds / 60:.0f} min" if seconds > _LONG_SILENCE else ""
