"""A quarter of the multiplications, for wide layers.

Lavin & Gray 2015, "Fast algorithms for convolutional neural networks", https://arxiv.org/abs/1509.09308: F(4x4, 3x3).
oneDNN's direct convolutions run near the processor's peak, so that nothing but fewer operations makes them faster.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# The outputs and the inputs of a tile, on each side.
_OUT, _IN = 4, 6
# Channels, and tiles of a batch, from which the transforms and the larger filters cost less than they save.
_WIDE, _MANY = 128, 16
_TILE = torch.tensor(
    [
        [4.0, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_FILTER = torch.tensor([[6.0, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
_RESULT = torch.tensor([[1.0, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])


def pays(module: nn.Conv2d, x: Tensor) -> bool:
    """Where both sides are wide, and a batch consists of enough whole tiles."""
    n, _, height, width = x.shape
    whole = height % _OUT == 0 and width % _OUT == 0 and n * height * width >= _MANY * _OUT**2
    return whole and min(module.in_channels, module.out_channels) >= _WIDE


def prepare(weight: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The filters (K, C, 3, 3) and those of the gradient, both :func:`transformed`: eight times their size."""
    return transformed(weight), transformed(weight.flip(2, 3).transpose(0, 1))


class _Convolution(torch.autograd.Function):
    """Maps (N, C, H, W) to (N, K, H, W), channels last; the gradient is the convolution with the ``turned`` filters."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, filters: Tensor, turned: Tensor, bias: Tensor | None) -> Tensor:
        ctx.turned = turned
        result = convolved(x, filters)
        return result if bias is None else result.add_(bias[:, None, None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return convolved(gradient, ctx.turned), None, None, None


convolve = _Convolution.apply


def transformed(weight: Tensor) -> Tensor:
    """Filters (K, C, 3, 3) as :func:`convolved` takes them: (36, C, K), the column of a tile before the row."""
    both = torch.einsum("ai,bj,kcij->back", _FILTER, _FILTER, weight)
    return both.reshape(_IN * _IN, weight.shape[1], weight.shape[0])


def convolved(x: Tensor, filters: Tensor) -> Tensor:
    """Maps (N, C, H, W) with zeros around them, H and W multiples of 4, to (N, K, H, W), channels last."""
    n, channels, height, width = x.shape
    down, across = height // _OUT, width // _OUT
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    rows = (_TILE @ _split(padded, 1)).view(_IN, n, down, width + 2, channels)
    tiles = (_TILE @ _split(rows, 3)).view(_IN * _IN, -1, channels)
    products = torch.bmm(tiles, filters).view(_IN, -1)
    half = (_RESULT @ products).view(_OUT, _IN, -1).transpose(0, 1).reshape(_IN, -1)
    whole = (_RESULT @ half).view(_OUT, _OUT, n, down, across, -1)
    return whole.permute(2, 3, 0, 4, 1, 5).reshape(n, height, width, -1).permute(0, 3, 1, 2)


def _split(maps: Tensor, dim: int) -> Tensor:
    """That dimension in pieces of 6, each 4 after the last; the position in a piece becomes the first one: (6, ...)."""
    return maps.unfold(dim, _IN, _OUT).movedim(-1, 0).reshape(_IN, -1)
