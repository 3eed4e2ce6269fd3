"""The robust network that attacks are timed on: PGD-AT with ResNet-18 on digits, enlarged to 32x32 in colour."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from harness.augmentation import to_float
from harness.datasets import load
from harness.datasets.base import Data, Split
from harness.experiment import Request, plan
from harness.registry import load_plugins
from harness.specs import TrainSpec, job_id
from harness.threat import Threat
from harness.training import train, trained_model

# Of the training; and of the timed attacks, under which about half of the images stand.
EPS, THREAT = 0.1, Threat("Linf", 0.15)
_SETTINGS = (
    "pgd-at.attack_steps=3",
    "protocol.lr=0.05",
    "protocol.schedule=cyclic",
    "protocol.augmentation=none",
    "protocol.selection_steps=1",
)


def robust_resnet18(directory: Path) -> tuple[nn.Module, Tensor, Tensor]:
    """The network, trained on the CPU in minutes unless ``directory`` has it; all images, and their labels.

    Images are (N, 3, 32, 32) in [0, 1], those of the test split first.
    """
    load_plugins()
    directory.mkdir(parents=True, exist_ok=True)
    data = _enlarged(load("digits", directory))
    request = Request(methods=["pgd-at"], data=data, model="resnet18", eps=EPS, epochs=8, settings=_SETTINGS)
    spec = plan(request)[0].spec
    assert isinstance(spec, TrainSpec)
    place = directory / job_id(spec)
    if not (place / "last.safetensors").exists():
        place.mkdir(exist_ok=True)
        train(spec, data, torch.device("cpu"), place, lambda _: None)
    images = np.concatenate([data.test.images, data.train.images])
    labels = np.concatenate([data.test.labels, data.train.labels])
    model = trained_model(spec, data, place / "last.safetensors").eval()
    return model, to_float(torch.from_numpy(images)), torch.from_numpy(labels)


def _enlarged(data: Data) -> Data:
    parts = [Split(each.images.repeat(3, 1).repeat(4, 2).repeat(4, 3), each.labels) for each in (data.train, data.test)]
    return Data("digits-32", *parts, data.classes)
