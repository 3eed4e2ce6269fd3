"""The command that makes a row again."""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from results.labels import ball_of, trained_at
from results.layout import WorkspaceFiles
from results.names import NATURAL, WORST_CASE


@dataclass(frozen=True)
class Place:
    """What was attacked (one method, its seeds, where) and how: by these attacks on the first so many examples."""

    method: str
    dataset: str
    model: str
    threat: str
    seeds: Sequence[int]
    attacks: Sequence[str]
    examples: int


def command(
    workspace: WorkspaceFiles,
    trainings: Iterable[str],
    evaluations: Iterable[str],
    place: Place,
    settings: Mapping[str, Any],
) -> str:
    """What the user typed for these jobs, as far as the workspace has kept it; else a command built of the settings.

    One line for each command; the folders in which they were given are left out.
    """
    return _kept(workspace, trainings) or _kept(workspace, evaluations) or _built(place, settings)


def _kept(workspace: WorkspaceFiles, jobs: Iterable[str]) -> str:
    files = [workspace.job(job).command for job in jobs]
    texts = [file.read_text(encoding="utf-8") for file in files if file.exists()]
    return "\n".join(dict.fromkeys(text.partition("\n")[2].strip() for text in texts))


def _built(place: Place, settings: Mapping[str, Any]) -> str:
    """``harness run`` with every setting written out, or ``harness evaluate`` for a model that was not trained here."""
    norm, eps = ball_of(place.threat)
    attacks = ",".join(attack for attack in place.attacks if attack not in (NATURAL, WORST_CASE))
    attacked = ["--dataset", place.dataset, "--attacks", attacks, "--test-examples", str(place.examples)]
    if "source" in settings and "protocol.epochs" not in settings:
        words = ["harness", "evaluate", "--model", settings["source"], "--save", place.method]
        words += ["--architecture", place.model, "--norm", norm, "--eps", f"{eps:.17g}", *attacked]
        return shlex.join(words)
    words = ["harness", "run", "--methods", place.method, "--model", place.model, *attacked]
    words += ["--seed", str(min(place.seeds)), "--seeds", str(1 + max(place.seeds) - min(place.seeds))]
    words += ["--norm", settings["threat.norm"], "--eps", _text(settings["threat.eps"])]
    if trained_at(settings) != place.threat:
        words += ["--eval-eps", _text(eps)]
    if settings.get("dataset.train_examples"):
        words += ["--train-examples", _text(settings["dataset.train_examples"])]
    for key, value in settings.items():
        owner, dot, _ = key.partition(".")
        if owner == "protocol" or key == "threat.step_size":
            words += ["--set", f"{key}={_text(value)}"]
        elif not dot and key not in ("model", "model_code", "code", "numerics"):
            words += ["--set", f"{place.method}.{key}={_text(value)}"]
    return shlex.join(words)


def _text(value: Any) -> str:
    """As ``--set`` takes it."""
    return value if isinstance(value, str) else json.dumps(value)
