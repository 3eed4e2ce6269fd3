"""An evaluation of a model that was not trained here, kept in a workspace as jobs that are done."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.api.errors import HarnessError
from harness.api.method import methods
from harness.api.registry import is_name
from harness.api.specs import ExternalSpec, ImagesSpec, MethodSpec, hashed_id, job_id
from harness.compute.files import save_text
from harness.evaluation.job import outcome_of
from harness.evaluation.judgement import Judgement
from harness.library.external import External
from harness.library.sources import RUNS
from harness.plan.graph import attack_specs
from harness.plugins import load_plugins
from harness.run.worker import provenance, save_verdicts
from harness.run.workspace import Workspace
from harness.trust.diagnose import outcome_of as diagnosis_of
from harness.version import EVALUATION_NUMERICS
from results.checksums import sealed
from results.store import Store


def check_name(name: str, model: str, plugins: Iterable[Path]) -> None:
    """Raise a :class:`HarnessError` unless a model named ``model`` can be kept as ``name`` in the place of a method."""
    load_plugins(plugins)
    if model.startswith(RUNS):
        raise HarnessError(f"{model} is in a workspace already: leave out --save, or harness run --eval-eps")
    if not is_name(name) or name in methods:
        raise HarnessError(
            f"--save takes a name that no method has, without spaces, commas, brackets and @, got {name!r}"
        )


def keep(found: External, name: str, architecture: str | None, workspace: Workspace, store: Store) -> ExternalSpec:
    """Store the evaluation under ``name``, as that of the one checkpoint there is, in the tables of ``architecture``.

    Without an architecture the model's class stands for it. What is stored already stays as it is.
    """
    model, named = found.source.model, {"source": found.source.name, "weights": fingerprint(found.source.model)}
    spec = ExternalSpec(
        method=MethodSpec(name=name, params=named, code=found.source.code),
        dataset=ImagesSpec(name=found.data.name, fingerprint=found.data.fingerprint),
        model=architecture or (type(model).__name__ if isinstance(model, nn.Module) else "function"),
        seed=found.seed,
    )
    evaluation, shared = found.evaluation, _shared(spec, found)
    ids: list[str] = []
    for attack in attack_specs(evaluation.judgements):
        judgement = evaluation.judgements[attack.name]
        own = {"kind": "evaluate", "attack": attack.model_dump(mode="json"), **shared}
        ids.append(_keep(workspace, own, found, outcome_of(judgement), judgement))
    assert evaluation.probes
    own = {"kind": "diagnose", "evaluations": sorted(ids), "limits": found.limits, **shared}
    ids.append(_keep(workspace, own, found, diagnosis_of(evaluation.findings, evaluation.probes)))
    for each in ids:
        store.ingest(workspace.job(each).directory)
    return spec


def fingerprint(model: Callable[..., Any]) -> str | None:
    """The beginning of the SHA-256 of all parameters and buffers; None for a function, which has none."""
    if not isinstance(model, nn.Module):
        return None
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        if isinstance(value, torch.Tensor):
            digest.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _shared(spec: ExternalSpec, found: External) -> dict[str, Any]:
    """What the specs of all jobs on the model have in common, as JSON."""
    examples = len(next(iter(found.evaluation.verdicts.values())))
    return {
        "train": spec.model_dump(mode="json"),
        "train_id": job_id(spec),
        "checkpoint": "best",
        "threat": asdict(found.threat),
        "test_examples": None if examples == len(found.data.test) else examples,
        "seed": found.seed,
        "numerics": EVALUATION_NUMERICS,
    }


def _keep(
    workspace: Workspace,
    spec: Mapping[str, Any],
    found: External,
    outcome: dict[str, Any],
    judgement: Judgement | None = None,
) -> str:
    """Write the files of a job that is done; its id."""
    files = workspace.job(hashed_id(spec))
    if files.result.exists():
        return files.id
    save_text(files.spec, json.dumps(spec, indent=1))
    save_text(files.command, workspace.command)
    if judgement:
        save_verdicts(files.verdicts, judgement)
    result = {
        "id": files.id,
        "kind": spec["kind"],
        "started": found.started.isoformat(),
        "finished": datetime.now(UTC).isoformat(),
        "seconds": judgement.seconds if judgement else 0.0,
        **provenance(torch.device(found.device)),
        **outcome,
    }
    save_text(files.result, sealed(result, files))
    return files.id
