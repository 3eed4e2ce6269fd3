"""3x3 convolutions in other ways than oneDNN's, for searches in float32 on a CPU: the first way that pays is taken.

Each way is a module: ``pays`` says for which layers and batches it costs less, ``prepare`` makes of a frozen weight
what it computes with, and ``convolve(x, *prepared, bias)`` computes. Outputs differ by rounding.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from harness.compute.convolutions import dense, thin, winograd

_WAYS = (dense, thin, winograd)
Prepared = Callable[[Any, int, int], Any]


@contextmanager
def cheaper_convolutions(*models: nn.Module) -> Iterator[None]:
    """Let 3x3 convolutions be computed in the cheapest way for a while, in float32 on a CPU.

    Only where the weights are frozen: the gradient is that of the images alone. The weights must stay as they are
    meanwhile; what is made of them is held as long, for each size of the maps.
    """
    convolutions = (each for model in models for each in model.modules() if isinstance(each, nn.Conv2d))
    every = dict.fromkeys(each for each in convolutions if _is_eligible(each))
    try:
        for module in every:
            vars(module)["forward"] = partial(_forward, module, cache(partial(_prepare, module)))
        yield
    finally:
        for module in every:
            vars(module).pop("forward", None)


def _is_eligible(module: nn.Conv2d) -> bool:
    return (
        type(module) is nn.Conv2d
        and (module.kernel_size, module.stride, module.dilation) == ((3, 3), (1, 1), (1, 1))
        and (module.padding, module.padding_mode, module.groups) == ((1, 1), "zeros", 1)
        and (module.weight.device.type, module.weight.dtype) == ("cpu", torch.float32)
        and "forward" not in vars(module)
        and "weight" in module._parameters  # and is not made anew for each pass
    )


def _forward(module: nn.Conv2d, prepared: Prepared, x: Tensor) -> Tensor:
    plain = x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if plain and x.dim() == 4 and not module.weight.requires_grad:
        for way in _WAYS:
            if way.pays(module, x):
                result: Tensor = way.convolve(x, *prepared(way, *x.shape[2:]), module.bias)
                return result
    return nn.Conv2d.forward(module, x)


@torch.no_grad()
def _prepare(module: nn.Conv2d, way: Any, height: int, width: int) -> Any:
    return way.prepare(module.weight.detach(), height, width)
