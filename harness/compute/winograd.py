"""3x3 convolutions with a quarter of the multiplications, for searches in float32 on a CPU.

Lavin & Gray 2015, "Fast algorithms for convolutional neural networks", https://arxiv.org/abs/1509.09308: F(4x4, 3x3).
oneDNN's direct convolutions run near the processor's peak, so that nothing but fewer operations makes them faster.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
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


@contextmanager
def fewer_multiplications(*models: nn.Module) -> Iterator[None]:
    """Let wide 3x3 convolutions of stride 1 be computed in this way for a while, in float32 on a CPU.

    Only where the weights are frozen (the gradient is that of the images alone) and a batch consists of enough whole
    tiles. The weights must stay as they are meanwhile; they are held in eight times their size. Outputs differ by
    rounding.
    """
    convolutions = (each for model in models for each in model.modules() if isinstance(each, nn.Conv2d))
    every = dict.fromkeys(each for each in convolutions if _is_eligible(each))
    try:
        for module in every:
            vars(module)["forward"] = partial(_forward, module, cache(partial(_filters, module)))
        yield
    finally:
        for module in every:
            vars(module).pop("forward", None)


def _is_eligible(module: nn.Conv2d) -> bool:
    return (
        type(module) is nn.Conv2d
        and (module.kernel_size, module.stride, module.dilation) == ((3, 3), (1, 1), (1, 1))
        and (module.padding, module.padding_mode, module.groups) == ((1, 1), "zeros", 1)
        and min(module.in_channels, module.out_channels) >= _WIDE
        and (module.weight.device.type, module.weight.dtype) == ("cpu", torch.float32)
        and "forward" not in vars(module)
        and "weight" in module._parameters  # and is not made anew for each pass
    )


def _forward(module: nn.Conv2d, filters: Callable[[], tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    plain = x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if not plain or module.weight.requires_grad or not _pays(x):
        return nn.Conv2d.forward(module, x)
    result: Tensor = _Convolution.apply(x, *filters(), module.bias)
    return result


def _pays(x: Tensor) -> bool:
    whole = x.dim() == 4 and all(side % _OUT == 0 for side in x.shape[2:])
    return whole and x.shape[0] * x.shape[2] * x.shape[3] >= _MANY * _OUT**2


class _Convolution(torch.autograd.Function):
    """The convolution with ``filters``, whose gradient is the one with the ``turned`` filters."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, filters: Tensor, turned: Tensor, bias: Tensor | None) -> Tensor:
        ctx.turned = turned
        result = convolved(x, filters)
        return result if bias is None else result.add_(bias[:, None, None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return convolved(gradient, ctx.turned), None, None, None


@torch.no_grad()
def _filters(module: nn.Conv2d) -> tuple[Tensor, Tensor]:
    weight = module.weight.detach()
    return transformed(weight), transformed(weight.flip(2, 3).transpose(0, 1))


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
