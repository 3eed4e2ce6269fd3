"""One evaluation job: one checkpoint of one training under one attack."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from harness.api.data import Data, Split
from harness.api.errors import HarnessError
from harness.api.specs import EvaluateSpec, Sibling, TrainSpec
from harness.api.threat import Threat
from harness.attacks import resolve
from harness.evaluation.adversarial import AdversarialParts
from harness.evaluation.judge import Examples, Report, judge
from harness.evaluation.judgement import Judgement
from harness.evaluation.stand_ins import stand_ins_for
from harness.training.models import build_method, trained_model
from results.checksums import check
from results.layout import JobFiles


def evaluate_job(
    spec: EvaluateSpec, data: Data, device: torch.device, files: JobFiles, report: Report
) -> tuple[Judgement, dict[str, Any]]:
    """One evaluation job: the judgement, and what goes into ``result.json``."""
    model = checkpoint_model(spec.train, files.sibling(spec.train_id), spec.checkpoint, data).to(device)
    attack = type(resolve(spec.attack.name))(**spec.attack.params)
    siblings = {
        name: checkpoint_model(each.train, files.sibling(each.train_id), spec.checkpoint, data)
        for name, each in named(spec.siblings).items()
    }
    examples, threat = examples_of(data.test.head(spec.test_examples)), Threat.of(spec.threat)
    declared = build_method(spec.train).attack_views(model)
    parts = AdversarialParts(files.adversarial_state)
    if not parts.are_whole():
        files.evaluation_state.unlink(missing_ok=True)
    judgement = judge(
        model,
        examples,
        attack,
        threat,
        views=stand_ins_for(attack, model, examples.x, threat, declared, siblings),
        seed=(spec.seed, spec.attack.name),
        batch_size=spec.batch_size,
        state=files.evaluation_state,
        report=report,
        keep=parts.keep,
    )
    parts.gather(files.adversarial, judgement.verdicts, examples.x.shape[1:])
    return judgement, outcome_of(judgement)


def named(siblings: Sequence[Sibling]) -> dict[str, Sibling]:
    """By method; where one has several trainings, by its training's id too."""
    counts = Counter(each.train.method.name for each in siblings)
    return {
        each.train.method.name
        if counts[each.train.method.name] == 1
        else f"{each.train.method.name} {each.train_id}": each
        for each in siblings
    }


def outcome_of(judgement: Judgement) -> dict[str, Any]:
    """What an evaluation's ``result.json`` says of its judgement."""
    correct = int(judgement.verdicts.sum())
    return {
        "correct": correct,
        "correct_low": correct - judgement.may_fall if judgement.may_fall else None,
        "examples": len(judgement.verdicts),
        "forwards": judgement.forwards,
        "backwards": judgement.backwards,
        "attack_seconds": judgement.seconds,
        "details": {
            "broken_by": judgement.broken_by,
            "lost": judgement.lost,
            "spared": judgement.spared,
            "bfloat16_forwards": judgement.bfloat16_forwards,
        },
    }


def checkpoint_model(train: TrainSpec, files: JobFiles, checkpoint: str, data: Data) -> nn.Module:
    """The model of the finished training job ``files``, in evaluation mode.

    Raises:
        HarnessError: if the weights are missing, damaged, or of another architecture.
    """
    weights = files.weights(checkpoint)
    try:
        check(files, weights)
        return trained_model(train, data, weights).eval()
    except HarnessError as error:
        raise HarnessError(f"{error}: delete {files.result}, and `harness run` trains this model again") from error


def examples_of(split: Split) -> Examples:
    """The split's arrays as tensors of their own: data sets may be read-only maps of files."""
    return Examples(torch.tensor(split.images), torch.tensor(split.labels))
