"""A four-layer convolutional network for digits and MNIST, quick on a CPU."""

import torch.nn.functional as F
from torch import Tensor, nn

from harness.api.model import Classifier, Inputs, model
from harness.models.blocks import conv


class ConvBlock(nn.Module):
    """3x3 convolution, BatchNorm, ReLU."""

    def __init__(self, in_width: int, out_width: int, stride: int) -> None:
        super().__init__()
        self.conv = conv(in_width, out_width, 3, stride)
        self.bn = nn.BatchNorm2d(out_width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_width, H, W) to (N, out_width, H / stride, W / stride)."""
        return F.relu(self.bn(self.conv(x)))


class SmallCNN(Classifier):
    """Two convolutions of 32 channels and two of 64; the second and the third halve the map."""

    def __init__(self, num_classes: int, inputs: Inputs) -> None:
        super().__init__(num_classes, inputs)
        self.conv1 = ConvBlock(inputs.channels, 32, 1)
        self.conv2 = ConvBlock(32, 32, 2)
        self.conv3 = ConvBlock(32, 64, 2)
        self.conv4 = ConvBlock(64, 64, 1)
        self.linear = nn.Linear(64, num_classes)

    def stem(self, x: Tensor) -> Tensor:
        """The first convolution."""
        h: Tensor = self.conv1(x)
        return h

    def blocks(self) -> list[nn.Module]:
        """The other three convolutions."""
        return [self.conv2, self.conv3, self.conv4]

    @property
    def classifier(self) -> nn.Linear:
        """The layer ``linear``."""
        return self.linear


@model("small-cnn")
def small_cnn(num_classes: int, inputs: Inputs) -> SmallCNN:
    """A four-layer CNN: 66 thousand parameters with 10 classes."""
    return SmallCNN(num_classes, inputs)
