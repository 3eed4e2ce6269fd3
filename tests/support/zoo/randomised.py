"""Defences that draw anew, from torch's global generator, in every forward pass."""

import math
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.inputs import Wrapper


class Noisy(Wrapper):
    """Normal noise on the pixels."""

    def __init__(self, base: nn.Module, sigma: float = 0.05) -> None:
        super().__init__(base)
        self.sigma = sigma

    def images(self, x: Tensor) -> Tensor:
        return (x + self.sigma * torch.randn_like(x)).clamp(0, 1)


class Resized(Wrapper):
    """Each image is scaled and shifted at random, by at most these shares of its side."""

    def __init__(self, base: nn.Module, scale: float = 0.1, shift: float = 0.0125) -> None:
        super().__init__(base)
        self.scale, self.shift = scale, shift

    def images(self, x: Tensor) -> Tensor:
        scale = 1 + self.scale * (2 * torch.rand(len(x), 1, 1, device=x.device) - 1)
        shift = 2 * self.shift * (2 * torch.rand(len(x), 2, 1, device=x.device) - 1)
        maps = torch.cat([scale * torch.eye(2, device=x.device), shift], 2)
        grid = F.affine_grid(maps, list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, align_corners=False)


class RandomlyShattered(Wrapper):
    """A steep ripple whose phase is drawn anew: no mean over draws follows it, since the mean of its slopes is 0."""

    height, frequency = 0.02, 2000.0

    def images(self, x: Tensor) -> Tensor:
        return x + self.height * torch.sin(self.frequency * x + 2 * math.pi * torch.rand_like(x))


class Dropped(nn.Module):
    """Dropout that stays on in evaluation, on what the final layer sees."""

    def __init__(self, base: nn.Module, share: float = 0.2) -> None:
        super().__init__()
        self.share = share
        self.base = deepcopy(base)
        for layer in self.base.modules():
            if isinstance(layer, nn.Linear):
                layer.register_forward_pre_hook(self._drop)

    def _drop(self, layer: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
        return F.dropout(inputs[0], self.share, training=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x)
