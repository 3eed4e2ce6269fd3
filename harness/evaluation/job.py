"""One evaluation job: one checkpoint of one training under one attack."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.api.data import Data, Split
from harness.api.errors import HarnessError
from harness.api.specs import EvaluateSpec, ShardSpec, Sibling, TrainSpec
from harness.api.threat import Threat
from harness.attacks import resolve
from harness.evaluation.adversarial import AdversarialParts
from harness.evaluation.judge import Examples, Report, judge
from harness.evaluation.judgement import Judgement
from harness.evaluation.stand_ins import stand_ins_for
from harness.training.models import build_method, trained_model
from results.adversarial import read_adversarial
from results.checksums import check
from results.layout import JobFiles


def evaluate_job(
    spec: EvaluateSpec | ShardSpec, data: Data, device: torch.device, files: JobFiles, report: Report
) -> Judgement:
    """One evaluation job, or a part of it: the judgement, beside the adversarial images in ``files``."""
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
        shard=(spec.index, spec.of) if isinstance(spec, ShardSpec) else (0, 1),
    )
    parts.gather(files.adversarial, judgement.verdicts, examples.x.shape[1:])
    return judgement


def merge_job(shards: Sequence[JobFiles], files: JobFiles) -> Judgement:
    """What the shards of an evaluation come to together: no example was attacked in two of them.

    Their adversarial images become the evaluation's, where they are there still.

    Raises:
        Damaged: if a shard is.
    """
    merged, parts = Judgement(torch.ones(0, dtype=torch.bool)), AdversarialParts(files.adversarial_state)
    for shard in shards:
        check(shard, shard.verdicts)
        merged.add(
            Judgement(torch.from_numpy(np.load(shard.verdicts)), **counts_of(json.loads(shard.result.read_text())))
        )
    if all(shard.adversarial.exists() for shard in shards):
        every = [read_adversarial(shard.adversarial) for shard in shards]
        for found in every:
            parts.keep(torch.from_numpy(found.positions), torch.from_numpy(found.images))
        parts.gather(files.adversarial, merged.verdicts, torch.Size(every[0].images.shape[1:]))
    return merged


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


def counts_of(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """What :func:`outcome_of` wrote of a judgement that spared nothing, but for its verdicts."""
    kept = {name: outcome["details"][name] for name in ("broken_by", "lost", "bfloat16_forwards")}
    return {**kept, **{name: outcome[name] for name in ("forwards", "backwards")}, "seconds": outcome["attack_seconds"]}


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
