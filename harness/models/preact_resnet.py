"""PreActResNet-18 for small images, with RobustBench's parameter names.

He et al. 2016, https://arxiv.org/abs/1603.05027, with a 3x3 stem of stride 1 and no pooling after it.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from harness.api.model import Inputs, model
from harness.models.blocks import PreActivation, conv
from harness.models.resnet import FourStages, Stages


class PreActBlock(PreActivation):
    """The pre-activation block whose projection is called ``shortcut``."""

    def __init__(self, in_width: int, out_width: int, stride: int) -> None:
        super().__init__(in_width, out_width, stride)
        if self.reshapes:
            self.shortcut = nn.Sequential(conv(in_width, out_width, 1, stride))

    def project(self, active: Tensor) -> Tensor:
        """A 1x1 convolution."""
        h: Tensor = self.shortcut(active)
        return h


class PreActResNet(FourStages):
    """RobustBench's ``architectures.resnet.PreActResNet`` with normalisation and any number of channels.

    Of its variants it is the paper's: ``bn_before_fc=True`` (BatchNorm and ReLU before the pooling) and
    ``out_shortcut=True`` (projections see the activated input), as in Rice et al. 2020.
    """

    def __init__(self, stages: Stages, num_classes: int, inputs: Inputs) -> None:
        super().__init__(stages, num_classes, inputs)
        self.bn = nn.BatchNorm2d(self.linear.in_features)

    def stem(self, x: Tensor) -> Tensor:
        """A convolution."""
        h: Tensor = self.conv1(x)
        return h

    def finish(self, h: Tensor) -> Tensor:
        """The final BatchNorm and ReLU."""
        return F.relu(self.bn(h))


@model("preactresnet18")
def preactresnet18(num_classes: int, inputs: Inputs) -> PreActResNet:
    """PreActResNet-18: 11.17 million parameters with 10 classes."""
    stages = Stages(PreActBlock, (2, 2, 2, 2), 64)
    return PreActResNet(stages, num_classes, inputs)
