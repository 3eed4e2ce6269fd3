"""ResNet-18, -34 and -50 for small images, with RobustBench's parameter names, and a narrow one for CPUs.

He et al. 2016, https://arxiv.org/abs/1512.03385, with a 3x3 stem of stride 1 and no pooling after it.
"""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from harness.api.model import Classifier, Inputs, model
from harness.models.blocks import Block, conv, stage


def _shortcut(in_width: int, out_width: int, stride: int) -> nn.Sequential:
    if stride == 1 and in_width == out_width:
        return nn.Sequential()
    return nn.Sequential(conv(in_width, out_width, 1, stride), nn.BatchNorm2d(out_width))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut, ReLU last."""

    def __init__(self, in_width: int, out_width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv(in_width, out_width, 3, stride)
        self.bn1 = nn.BatchNorm2d(out_width)
        self.conv2 = conv(out_width, out_width)
        self.bn2 = nn.BatchNorm2d(out_width)
        self.shortcut = _shortcut(in_width, out_width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_width, H, W) to (N, out_width, H / stride, W / stride)."""
        h = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(h)) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, inside a quarter as wide, around a shortcut, ReLU last."""

    def __init__(self, in_width: int, out_width: int, stride: int) -> None:
        super().__init__()
        width = out_width // 4
        self.conv1 = conv(in_width, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, out_width, 1)
        self.bn3 = nn.BatchNorm2d(out_width)
        self.shortcut = _shortcut(in_width, out_width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_width, H, W) to (N, out_width, H / stride, W / stride)."""
        h = F.relu(self.bn1(self.conv1(x)))
        h = F.relu(self.bn2(self.conv2(h)))
        return F.relu(self.bn3(self.conv3(h)) + self.shortcut(x))


class Stages(NamedTuple):
    """Four stages of ``counts`` blocks: the first ``width`` channels wide, each later one twice the last."""

    block: Block
    counts: tuple[int, int, int, int]
    width: int


class FourStages(Classifier):
    """The skeleton of ResNet and PreActResNet."""

    def __init__(self, stages: Stages, num_classes: int, inputs: Inputs) -> None:
        super().__init__(num_classes, inputs)
        block, counts, width = stages
        stem = min(64, width)
        self.conv1 = conv(inputs.channels, stem)
        self.layer1 = stage(block, stem, width, counts[0], 1)
        self.layer2 = stage(block, width, 2 * width, counts[1], 2)
        self.layer3 = stage(block, 2 * width, 4 * width, counts[2], 2)
        self.layer4 = stage(block, 4 * width, 8 * width, counts[3], 2)
        self.linear = nn.Linear(8 * width, num_classes)

    def blocks(self) -> list[nn.Module]:
        """The blocks of the four stages."""
        return [*self.layer1, *self.layer2, *self.layer3, *self.layer4]

    @property
    def classifier(self) -> nn.Linear:
        """The layer ``linear``."""
        return self.linear


class ResNet(FourStages):
    """RobustBench's ``architectures.resnet.ResNet`` with normalisation and any number of channels."""

    def __init__(self, stages: Stages, num_classes: int, inputs: Inputs) -> None:
        super().__init__(stages, num_classes, inputs)
        self.bn1 = nn.BatchNorm2d(self.conv1.out_channels)

    def stem(self, x: Tensor) -> Tensor:
        """Convolution, BatchNorm, ReLU."""
        return F.relu(self.bn1(self.conv1(x)))


@model("resnet12-w8")
def resnet12_w8(num_classes: int, inputs: Inputs) -> ResNet:
    """ResNet-12, 8 channels wide, for machines without a GPU: 0.15 million parameters with 10 classes."""
    stages = Stages(BasicBlock, (1, 1, 1, 2), 8)
    return ResNet(stages, num_classes, inputs)


@model("resnet18")
def resnet18(num_classes: int, inputs: Inputs) -> ResNet:
    """ResNet-18: 11.17 million parameters with 10 classes."""
    stages = Stages(BasicBlock, (2, 2, 2, 2), 64)
    return ResNet(stages, num_classes, inputs)


@model("resnet34")
def resnet34(num_classes: int, inputs: Inputs) -> ResNet:
    """ResNet-34: 21.28 million parameters with 10 classes."""
    stages = Stages(BasicBlock, (3, 4, 6, 3), 64)
    return ResNet(stages, num_classes, inputs)


@model("resnet50")
def resnet50(num_classes: int, inputs: Inputs) -> ResNet:
    """ResNet-50: 23.52 million parameters with 10 classes."""
    stages = Stages(Bottleneck, (3, 4, 6, 3), 256)
    return ResNet(stages, num_classes, inputs)
