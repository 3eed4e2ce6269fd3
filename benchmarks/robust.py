"""The robust networks that attacks are timed on: PGD-AT with a ResNet-18 on digits, enlarged to 32x32 in colour."""

import sys
from pathlib import Path

from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from zoo import Bases

from harness.api.data import Data, Split
from harness.api.model import Inputs, model
from harness.api.threat import Threat
from harness.datasets import load
from harness.models.resnet import BasicBlock, ResNet, Stages
from harness.plugins import load_plugins

# Of the training; and of the timed attacks, under which about half of the images stand.
EPS, THREAT = 0.1, Threat("Linf", 0.15)
_SETTINGS = (
    "pgd-at.attack_steps=3",
    "protocol.lr=0.05",
    "protocol.schedule=cyclic",
    "protocol.augmentation=none",
    "protocol.selection_steps=1",
)


@model("narrow-resnet18")
def narrow_resnet18(num_classes: int, inputs: Inputs) -> ResNet:
    """A ResNet-18 with a quarter of the channels, behind the usual stem: quick enough for AutoAttack on a CPU."""
    return ResNet(Stages(BasicBlock, (2, 2, 2, 2), 16), num_classes, inputs)


def robust_resnet(name: str, directory: Path) -> tuple[nn.Module, Tensor, Tensor]:
    """The network, trained on the CPU in minutes unless ``directory`` has it; all images, and their labels.

    Images are (N, 3, 32, 32) in [0, 1], those of the test split first.
    """
    load_plugins()
    bases = Bases(directory, _enlarged(load("digits", directory)))
    network = bases.trained("pgd-at", 0, checkpoint="last", model=name, eps=EPS, epochs=8, settings=_SETTINGS)
    return network, *bases.images()


def _enlarged(data: Data) -> Data:
    parts = [Split(each.images.repeat(3, 1).repeat(4, 2).repeat(4, 3), each.labels) for each in (data.train, data.test)]
    return Data("digits-32", *parts, data.classes)
