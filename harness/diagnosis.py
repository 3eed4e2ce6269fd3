"""One diagnosis: probes of a model, and the judgement over all that its evaluations found."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.attacks.attackable import attackable
from harness.datasets.base import Data
from harness.diagnostics import Finding, diagnose, verdict_of
from harness.evaluation import Judgement, checkpoint_model, device_of, to_images, worst_case
from harness.evidence import Evidence
from harness.probes import PROBE_EXAMPLES, Probes, probe
from harness.randomness import generator
from harness.specs import DiagnoseSpec
from harness.threat import Threat


def diagnosed(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    judgements: Mapping[str, Judgement],
    limits: Mapping[str, float],
    *,
    batch_size: int,
    seed: int,
) -> tuple[list[Finding], Probes]:
    """Probe the model on the first :data:`~harness.probes.PROBE_EXAMPLES` examples, and judge all that is known of it.

    ``x`` (N, C, H, W) are uint8 images or floats in [0, 1], ``y`` (N,) their labels, and ``judgements`` what each
    attack (and ``natural``) left standing of these examples.
    """
    device = device_of(model)
    images, labels = to_images(x[:PROBE_EXAMPLES], device), y[:PROBE_EXAMPLES].to(device)
    draws = generator(seed, "probes", device=device)
    probes = probe(attackable(model, images[:1]), images, labels, threat, generator=draws, batch_size=batch_size)
    verdicts = {name: judgement.verdicts for name, judgement in judgements.items()}
    verdicts["worst-case"] = worst_case(verdicts)
    evidence = Evidence(
        accuracy={name: float(each.double().mean()) for name, each in verdicts.items()},
        examples=len(verdicts["worst-case"]),
        warnings=[text for judgement in judgements.values() for text in judgement.warnings],
        broken_by={
            name: {part: len(found) for part, found in judgement.broken_by.items()}
            for name, judgement in judgements.items()
        },
        lost={name: judgement.lost for name, judgement in judgements.items()},
        probes=probes,
    )
    return diagnose(evidence, limits), probes


def diagnose_job(spec: DiagnoseSpec, data: Data, device: torch.device, directory: Path) -> dict[str, Any]:
    """One diagnosis job: what goes into its ``result.json``."""
    model = checkpoint_model(spec.train, spec.train_id, spec.checkpoint, data, directory.parent).to(device)
    test = data.test.head(spec.test_examples)
    findings, probes = diagnosed(
        model,
        torch.from_numpy(test.images[:PROBE_EXAMPLES].copy()),
        torch.from_numpy(test.labels[:PROBE_EXAMPLES].copy()),
        Threat(**spec.threat.model_dump()),
        _judgements(directory.parent / evaluation for evaluation in spec.evaluations),
        spec.limits,
        batch_size=spec.batch_size,
        seed=spec.seed,
    )
    return {
        "verdict": verdict_of(findings),
        "findings": [asdict(finding) for finding in findings],
        "probes": asdict(probes),
    }


def _judgements(directories: Iterable[Path]) -> dict[str, Judgement]:
    """By attack; of several evaluations by one attack (other siblings beside it) the one that found most."""
    found: dict[str, Judgement] = {}
    for name, judgement in map(_judgement, directories):
        before = found.get(name, judgement)
        found[name] = min(before, judgement, key=lambda each: int(each.verdicts.sum()))
    return found


def _judgement(directory: Path) -> tuple[str, Judgement]:
    """A finished evaluation job: the name of its attack, and what it left standing."""
    result = json.loads((directory / "result.json").read_text())
    spec = json.loads((directory / "spec.json").read_text())
    verdicts = torch.from_numpy(np.load(directory / "verdicts.npy"))
    return spec["attack"]["name"], Judgement(verdicts, **result["details"], warnings=result["warnings"])
