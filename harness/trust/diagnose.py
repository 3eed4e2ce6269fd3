"""One diagnosis: probes of a model, and the judgement over all that its evaluations found."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from harness.api.data import Data
from harness.api.specs import DiagnoseSpec
from harness.api.threat import Threat
from harness.compute.images import device_of
from harness.compute.randomness import generator
from harness.evaluation.job import checkpoint_model, examples_of
from harness.evaluation.judge import Examples
from harness.evaluation.judgement import Judgement, accuracies
from harness.trust.evidence import Evidence
from harness.trust.findings import Finding, diagnose, verdict_of
from harness.trust.probes import PROBE_EXAMPLES, Probes, probe
from harness.views.attackable import attackable
from results.checksums import check, read_bytes
from results.directory import read_verdicts
from results.layout import JobFiles


def diagnosed(
    model: nn.Module,
    examples: Examples,
    threat: Threat,
    judgements: Mapping[str, Judgement],
    limits: Mapping[str, float],
    *,
    batch_size: int,
    seed: int,
) -> tuple[list[Finding], Probes]:
    """Probe the model on the first ``PROBE_EXAMPLES`` examples, and judge all that is known of it.

    ``judgements`` are what each attack (and ``natural``) left standing of the examples.
    """
    device = device_of(model)
    images, labels = examples.at(torch.arange(min(PROBE_EXAMPLES, len(examples.y))), device)
    draws = generator(seed, "probes", device=device)
    probes = probe(attackable(model, images[:1]), images, labels, threat, generator=draws, batch_size=batch_size)
    evidence = Evidence(
        accuracy=accuracies(judgements),
        examples=len(examples.y),
        broken_by={
            name: {part: len(found) for part, found in judgement.broken_by.items()}
            for name, judgement in judgements.items()
        },
        lost={name: judgement.lost for name, judgement in judgements.items()},
        probes=probes,
    )
    return diagnose(evidence, limits), probes


def diagnose_job(spec: DiagnoseSpec, data: Data, device: torch.device, files: JobFiles) -> dict[str, Any]:
    """One diagnosis job: what goes into its ``result.json``."""
    model = checkpoint_model(spec.train, files.sibling(spec.train_id), spec.checkpoint, data).to(device)
    findings, probes = diagnosed(
        model,
        examples_of(data.test.head(spec.test_examples)),
        Threat.of(spec.threat),
        _judgements(files.sibling(evaluation) for evaluation in spec.evaluations),
        spec.limits,
        batch_size=spec.batch_size,
        seed=spec.seed,
    )
    return outcome_of(findings, probes)


def outcome_of(findings: list[Finding], probes: Probes) -> dict[str, Any]:
    """What a diagnosis' ``result.json`` says."""
    return {
        "verdict": verdict_of(findings),
        "findings": [asdict(finding) for finding in findings],
        "probes": asdict(probes),
    }


def _judgements(evaluations: Iterable[JobFiles]) -> dict[str, Judgement]:
    """By attack; of several evaluations by one attack (other siblings beside it) the one that found most."""
    found: dict[str, Judgement] = {}
    for name, judgement in map(_judgement, evaluations):
        before = found.get(name, judgement)
        found[name] = min(before, judgement, key=lambda each: int(each.verdicts.sum()))
    return found


def _judgement(files: JobFiles) -> tuple[str, Judgement]:
    """A finished evaluation job: the name of its attack, and what it left standing."""
    check(files, files.spec, files.verdicts)
    result, spec = json.loads(read_bytes(files.result)), json.loads(read_bytes(files.spec))
    verdicts = torch.from_numpy(read_verdicts(files.verdicts))
    return spec["attack"]["name"], Judgement(verdicts, **result["details"])
