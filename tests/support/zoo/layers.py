"""Networks that hide their gradient inside and therefore have to be trained."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from zoo.gradients import straight_through


class Network(nn.Module):
    """Four convolutions as in the small CNN, with any encoding of the image and any activation."""

    def __init__(
        self,
        channels: int,
        activation: Callable[[], nn.Module],
        encoding: nn.Module | None = None,
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.encoding = encoding or nn.Identity()
        layers: list[nn.Module] = []
        for width, stride in ((32, 1), (32, 2), (64, 2), (64, 1)):
            layers += [nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), activation()]
            channels = width
        self.features = nn.Sequential(*layers)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.features(self.encoding(x)).mean((2, 3)))


class Thermometer(nn.Module):
    """Each pixel becomes ``levels`` channels, the k-th on where the pixel exceeds ``k / levels``."""

    def __init__(self, levels: int = 16, *, masked: bool = True) -> None:
        super().__init__()
        self.levels, self.masked = levels, masked

    def forward(self, x: Tensor) -> Tensor:
        height = (x[:, :, None] * self.levels - torch.arange(self.levels, device=x.device)[:, None, None]).flatten(1, 2)
        hard = (height > 0).to(x.dtype)
        return hard if self.masked else straight_through(hard, height.clamp(0, 1))


class KWinners(nn.Module):
    """Of all activations of a layer the largest ``share`` are kept, the others are zero: jumps at every change.

    With the mask off, the gradient of the ReLU stands in.
    """

    def __init__(self, share: float = 0.1, *, masked: bool = True) -> None:
        super().__init__()
        self.share, self.masked = share, masked

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        kept = max(int(self.share * flat.shape[1]), 1)
        winners = torch.where(flat >= flat.topk(kept).values[:, -1:], flat, 0.0).view_as(x)
        return winners if self.masked else straight_through(winners, x.relu())


class Sign(nn.Module):
    """-1 or 1: no slope. In training, and with the mask off, the gradient of ``clamp(x, -1, 1)`` stands in."""

    def __init__(self, *, masked: bool = True) -> None:
        super().__init__()
        self.masked = masked

    def forward(self, x: Tensor) -> Tensor:
        return x.sign() if self.masked and not self.training else straight_through(x.sign(), x.clamp(-1, 1))


class Linear(nn.Module):
    """One linear layer on the pixels."""

    def __init__(self, pixels: int, classes: int = 10) -> None:
        super().__init__()
        self.linear = nn.Linear(pixels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1))
