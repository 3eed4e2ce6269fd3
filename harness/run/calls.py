"""Calls of ``harness run`` that are done: made again with nothing changed, they need no plan.

Must not import torch, which is most of what such a call would wait for.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.api.registry import BUILT_IN, GROUP
from harness.compute.files import save_text
from harness.datasets import stamp
from harness.run.workspace import Workspace
from results.store import Store

_REPORTING = frozenset({"results", "reports"})
_PACKAGES = ("torch", "torchvision", "scikit-learn", "numpy")


@dataclass(frozen=True)
class Done:
    """What a call was planned into, all of it done.

    ``description`` is the protocol in words; ``jobs`` are the ids of all jobs, ``evaluated`` those of what is reported.
    ``beside`` are the evaluations of other calls, which a diagnosis takes in as well. ``written`` are the names of the
    reports; ``state`` tells them and the database from changed ones.
    """

    description: str
    jobs: list[str]
    evaluated: list[str]
    beside: list[str]
    written: list[str]
    state: list[list[Any]]


def key_of(workspace: Workspace, words: Mapping[str, Any]) -> str | None:
    """16 hexadecimal digits for all that a plan depends on: the user's words, the harness's code, the images.

    None where that cannot be told at a glance: with third parties' plugins, which import what they like.
    """
    foreign = [point for point in entry_points(group=GROUP) if point.module.partition(".")[0] not in BUILT_IN]
    images = None if workspace.plugins or foreign else stamp(workspace.dataset, workspace.data_root)
    if images is None:
        return None
    versions = {name: version(name) for name in _PACKAGES}
    about = {**words, "dataset": workspace.dataset, "images": images, "code": _code(), "versions": versions}
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def _code() -> str:
    """The hash of all that ships with the harness: what plans, decides and reports."""
    digest = hashlib.sha256()
    for package in sorted(BUILT_IN | _REPORTING):
        found = find_spec(package)
        for root in map(Path, (found and found.submodule_search_locations) or ()):
            for file in sorted(root.rglob("*.py")):
                digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def remember(
    workspace: Workspace,
    key: str,
    jobs: Sequence[str],
    evaluated: Iterable[str],
    written: Iterable[Path],
    description: str,
    store: Store,
) -> None:
    """Have :func:`recall` find what a call was planned into, once all of it is done and reported."""
    names = [path.name for path in written]
    done = Done(
        description, [*jobs], sorted(evaluated), _beside(workspace, jobs), names, _state(workspace, names, store)
    )
    save_text(workspace.call(key), json.dumps(asdict(done), indent=1))


def recall(workspace: Workspace, key: str) -> Done | None:
    """What the same call was planned into, if all of that is there still and no evaluation came to it."""
    try:
        done = Done(**json.loads(workspace.call(key).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    whole = all(workspace.job(job).result.exists() for job in done.jobs)
    return done if whole and _beside(workspace, done.jobs) == done.beside else None


def is_current(workspace: Workspace, done: Done, store: Store) -> bool:
    """Whether the reports of that call are as they were written, and the database too."""
    return _state(workspace, done.written, store) == done.state


def _beside(workspace: Workspace, jobs: Iterable[str]) -> list[str]:
    finished = {file.parent.name for file in workspace.jobs.glob("evaluate-*/result.json")}
    return sorted(finished - set(jobs))


def _state(workspace: Workspace, names: Iterable[str], store: Store) -> list[list[Any]]:
    """What the database is at, then size and time of change of each report; of one that is missing, nothing."""
    files = [workspace.reports / name for name in names]
    return [store.state(), *([file.stat().st_size, file.stat().st_mtime_ns] if file.exists() else [] for file in files)]
