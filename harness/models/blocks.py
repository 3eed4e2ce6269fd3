"""What the residual networks share: convolutions, pre-activation blocks and rows of blocks."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

# Built as block(in_width, out_width, stride): (N, in_width, H, W) to (N, out_width, H / stride, W / stride).
Block = Callable[[int, int, int], nn.Module]


def conv(in_width: int, out_width: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution with no bias that keeps the map's size but for the stride."""
    return nn.Conv2d(in_width, out_width, size, stride=stride, padding=size // 2, bias=False)


def stage(block: Block, in_width: int, out_width: int, count: int, stride: int) -> nn.Sequential:
    """``count`` blocks in a row; only the first changes the width and shrinks the map."""
    first = block(in_width, out_width, stride)
    return nn.Sequential(first, *(block(out_width, out_width, 1) for _ in range(count - 1)))


class PreActivation(nn.Module, ABC):
    """BatchNorm, ReLU and 3x3 convolution, twice, around a shortcut; the sum is left without a ReLU.

    A shortcut that changes width or size projects the input after its first BatchNorm and ReLU.
    He et al. 2016, https://arxiv.org/abs/1603.05027, figure 4(e).
    """

    def __init__(self, in_width: int, out_width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_width)
        self.conv1 = conv(in_width, out_width, 3, stride)
        self.bn2 = nn.BatchNorm2d(out_width)
        self.conv2 = conv(out_width, out_width)
        self.reshapes = stride != 1 or in_width != out_width

    @abstractmethod
    def project(self, active: Tensor) -> Tensor:
        """The shortcut of a block that reshapes; each family names its layer differently."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_width, H, W) to (N, out_width, H / stride, W / stride)."""
        active = F.relu(self.bn1(x))
        h: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return h + (self.project(active) if self.reshapes else x)
