"""The classifiers inside the zoo, each trained once per directory."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from filelock import FileLock
from torch import Tensor, nn

from harness.api.data import Data, Split
from harness.api.specs import TrainSpec, job_id
from harness.api.threat import Threat
from harness.compute.ascent import ascend
from harness.compute.checkpoints import load_weights, save_weights
from harness.compute.images import to_float
from harness.compute.randomness import generator
from harness.datasets import load
from harness.plan.graph import Request, plan
from harness.plugins import load_plugins
from harness.training.loop import train
from harness.training.models import trained_model
from results.layout import JobFiles

Fit = Callable[[nn.Module], None]
CPU = torch.device("cpu")
THREAT = Threat("Linf", 0.2, 0.05)


class Bases:
    """Trains on ``data``, the embedded digits unless given, on the CPU, and keeps the weights in ``directory``.

    Processes may share it.
    """

    def __init__(self, directory: Path, data: Data | None = None) -> None:
        load_plugins()
        self.directory = directory
        self.data = data or load("digits", directory)
        self.truths: dict[tuple[str, int, int], float] = {}

    def test_images(self, count: int) -> tuple[Tensor, Tensor]:
        """The first test images (N, 1, 8, 8) in [0, 1] and their labels (N,)."""
        return _tensors(self.data.test.head(count))

    def images(self) -> tuple[Tensor, Tensor]:
        """All images (N, C, H, W) in [0, 1], those of the test split first, and their labels (N,)."""
        (test, test_labels), (training, training_labels) = _tensors(self.data.test), _tensors(self.data.train)
        return torch.cat([test, training]), torch.cat([test_labels, training_labels])

    def trained(self, method: str, seed: int, *, checkpoint: str = "best", **wanted: Any) -> nn.Module:
        """A fresh copy of the model that the harness trains by ``method``, as ``Request(**wanted)`` asks for it."""
        spec = plan(Request(methods=[method], data=self.data, seeds=[seed], **wanted))[0].spec
        assert isinstance(spec, TrainSpec)
        place = self.directory / job_id(spec)
        self._once(place, lambda: train(spec, self.data, CPU, JobFiles(place), lambda _: None))
        return trained_model(spec, self.data, place / f"{checkpoint}.safetensors").eval()

    def fitted(self, name: str, seed: int, build: Callable[[], nn.Module], fit: Fit) -> nn.Module:
        """A model of the zoo's own, fitted by ``fit`` from initial weights that the seed fixes."""
        place = self.directory / f"zoo-{name}-{seed}"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build()

            def finish() -> None:
                fit(model)
                save_weights(place / "last.safetensors", model.state_dict())

            self._once(place, finish)
        load_weights(place / "last.safetensors", model)
        return model.eval()

    def _once(self, place: Path, work: Callable[[], object]) -> None:
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / "lock"):
            if not (place / "last.safetensors").exists():
                work()


def _tensors(split: Split) -> tuple[Tensor, Tensor]:
    return to_float(torch.from_numpy(split.images.copy())), torch.from_numpy(split.labels.copy())


def descend(
    model: nn.Module,
    data: Data,
    seed: int,
    *,
    targets: Callable[[Tensor], Tensor] | None = None,
    temperature: float = 1.0,
    attack_steps: int = 0,
    epochs: int = 30,
) -> None:
    """Minimise the cross-entropy on the training images by SGD with a cyclic rate, as the harness does on digits.

    ``targets`` gives the label distributions (N, K) of images, in place of the labels; ``attack_steps`` > 0 trains on
    PGD examples found through the model's own gradient.
    """
    images, labels = _tensors(data.train)
    goals = targets(images) if targets else F.one_hot(labels, data.num_classes).float()
    draws = generator(seed, "zoo")
    batches = len(images) // 128
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=2e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, epochs * batches, anneal_strategy="linear")
    for _ in range(epochs):
        for batch in torch.randperm(len(images), generator=draws)[: batches * 128].split(128):
            x, goal = images[batch], goals[batch]
            if attack_steps:
                start, lost = THREAT.random_start(x, draws), partial(_lost, model, goal)
                x = ascend(model, x, lost, THREAT, start=start, steps=attack_steps)
            model.train()
            loss = temperature * F.cross_entropy(model(x) / temperature, goal)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()


def _lost(model: nn.Module, goal: Tensor, x: Tensor) -> Tensor:
    return F.cross_entropy(model(x), goal)
