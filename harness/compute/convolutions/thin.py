"""The first layer's gradient: to one or three channels, as one matrix product and nine shifted sums."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# At most so many channels in, and for each of them at least so many out.
_THIN, _RATIO = 3, 10


def pays(module: nn.Conv2d, x: Tensor) -> bool:
    """Where there is a gradient to compute, with far fewer channels than it comes from."""
    thin = module.in_channels <= _THIN and module.out_channels >= _RATIO * module.in_channels
    return thin and x.requires_grad and torch.is_grad_enabled()


def prepare(weight: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The filters (K, C, 3, 3) as they are, and as a matrix (9 C, K)."""
    return weight, weight.permute(2, 3, 1, 0).flatten(0, 2)


class _Convolution(torch.autograd.Function):
    """Maps (N, C, H, W) to (N, K, H, W)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
        ctx.matrix, ctx.shape = matrix, x.shape
        return F.conv2d(x, weight, bias, padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        n, channels, height, width = ctx.shape
        columns = gradient.permute(0, 2, 3, 1).flatten(0, 2).t()
        parts = (ctx.matrix @ columns).view(3, 3, channels, n, height, width)
        padded = gradient.new_zeros(channels, n, height + 2, width + 2)
        for down in range(3):
            for across in range(3):
                padded[:, :, down : down + height, across : across + width] += parts[down, across]
        return padded[:, :, 1:-1, 1:-1].transpose(0, 1), None, None, None


convolve = _Convolution.apply
