"""Wide ResNets, with RobustBench's parameter names.

Zagoruyko and Komodakis 2016, https://arxiv.org/abs/1605.07146.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from harness.api.errors import HarnessError
from harness.api.model import Classifier, Inputs, model
from harness.models.blocks import PreActivation, conv, stage


class WideBlock(PreActivation):
    """The pre-activation block whose projection is called ``convShortcut``."""

    def __init__(self, in_width: int, out_width: int, stride: int) -> None:
        super().__init__(in_width, out_width, stride)
        if self.reshapes:
            self.convShortcut = conv(in_width, out_width, 1, stride)

    def project(self, active: Tensor) -> Tensor:
        """A 1x1 convolution."""
        h: Tensor = self.convShortcut(active)
        return h


class Group(nn.Module):
    """A stage under the name ``layer``."""

    def __init__(self, in_width: int, out_width: int, count: int, stride: int) -> None:
        super().__init__()
        self.layer = stage(WideBlock, in_width, out_width, count, stride)


class WideResNet(Classifier):
    """RobustBench's ``architectures.wide_resnet.WideResNet`` with normalisation and any number of channels.

    WRN-``depth``-``widen``: three groups of (depth - 4) / 6 blocks, 16, 32 and 64 times ``widen`` wide.

    Raises:
        HarnessError: if ``depth`` is not 6n + 4 with n at least 1.
    """

    def __init__(self, depth: int, widen: int, num_classes: int, inputs: Inputs) -> None:
        super().__init__(num_classes, inputs)
        count, rest = divmod(depth - 4, 6)
        if rest or count < 1:
            raise HarnessError(f"the depth of a wide ResNet must be one of 10, 16, 22, ..., got {depth}")
        self.conv1 = conv(inputs.channels, 16)
        self.block1 = Group(16, 16 * widen, count, 1)
        self.block2 = Group(16 * widen, 32 * widen, count, 2)
        self.block3 = Group(32 * widen, 64 * widen, count, 2)
        self.bn1 = nn.BatchNorm2d(64 * widen)
        self.fc = nn.Linear(64 * widen, num_classes)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)

    def stem(self, x: Tensor) -> Tensor:
        """A convolution."""
        h: Tensor = self.conv1(x)
        return h

    def blocks(self) -> list[nn.Module]:
        """The blocks of the three groups."""
        return [*self.block1.layer, *self.block2.layer, *self.block3.layer]

    def finish(self, h: Tensor) -> Tensor:
        """The final BatchNorm and ReLU."""
        return F.relu(self.bn1(h))

    @property
    def classifier(self) -> nn.Linear:
        """The layer ``fc``."""
        return self.fc


@model("wrn-28-10")
def wrn_28_10(num_classes: int, inputs: Inputs) -> WideResNet:
    """WRN-28-10: 36.48 million parameters with 10 classes."""
    return WideResNet(28, 10, num_classes, inputs)


@model("wrn-34-10")
def wrn_34_10(num_classes: int, inputs: Inputs) -> WideResNet:
    """WRN-34-10: 46.16 million parameters with 10 classes."""
    return WideResNet(34, 10, num_classes, inputs)
