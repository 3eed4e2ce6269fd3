"""A model that was not trained here under the attacks of the command line."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from harness.api.data import Data
from harness.api.threat import Norm, Threat
from harness.compute.images import device_of
from harness.compute.modes import evaluating
from harness.datasets import load
from harness.evaluation.job import examples_of
from harness.evaluation.judge import Examples
from harness.library.evaluate import Evaluation, evaluate
from harness.library.foreign import ForeignModel
from harness.library.sources import Source, source
from harness.plan.defaults import setup_for, threat_for
from harness.plan.settings import Settings
from harness.plugins import load_plugins
from harness.run.workspace import Workspace
from harness.views.survey import kept_buffers

log = logging.getLogger("harness")


@dataclass(frozen=True)
class External:
    """An evaluation, and all that it depended on."""

    source: Source
    data: Data
    threat: Threat
    evaluation: Evaluation
    limits: dict[str, float]
    seed: int
    device: str
    started: datetime

    @property
    def title(self) -> str:
        """What was attacked, with which weights, under which threat."""
        return f"{self.source.name} on {self.data.name}, {self.threat}\nweights: {self.source.weights}"


def evaluate_external(
    workspace: Workspace,
    model: str,
    weights: Path | None,
    *,
    attacks: Sequence[str],
    norm: Norm | None,
    eps: float | None,
    test_examples: int | None,
    batch_size: int | None,
    device: str | None,
    seed: int,
    settings: Sequence[str] = (),
) -> External:
    """Evaluate the model on the first ``test_examples`` test images under the data set's threat, or the given one."""
    load_plugins(workspace.plugins)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    limits = Settings(settings, owners=["diagnostics"]).limits()
    data = load(workspace.dataset, workspace.data_root)
    threat = threat_for(setup_for(data).threat, norm, eps)
    found = source(model, weights, data, threat, workspace)
    examples = examples_of(data.test.head(test_examples))
    _compare_classes(found.model, examples, data)
    started = datetime.now(UTC)
    evaluation = evaluate(
        found.model,
        *examples,
        threat=threat,
        attacks=attacks,
        device=device,
        batch_size=batch_size,
        seed=seed,
        limits=limits,
    )
    return External(found, data, threat, evaluation, limits, seed, device, started)


def _compare_classes(model: Callable[..., Any], examples: Examples, data: Data) -> None:
    """Say so where the model has another number of outputs than the data set has classes."""
    network = ForeignModel(model, torch.device("cpu"))
    with evaluating(network), kept_buffers(network), torch.no_grad():
        outputs = network(examples.at(torch.arange(len(examples.y))[:2], device_of(network))[0]).shape[-1]
    if outputs != data.num_classes:
        log.warning(
            "the model has %d outputs, %s has %d classes: label 0 is %r here, label 1 %r, and so on; is it so there?",
            *(outputs, data.name, data.num_classes, *(data.classes * 2)[:2]),
        )
