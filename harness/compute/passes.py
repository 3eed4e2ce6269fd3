"""How many images pass through a model, forwards and backwards."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Passes(NamedTuple):
    """Images sent forwards through a model, and images whose gradient was sent back through it."""

    forwards: int = 0
    backwards: int = 0


@contextmanager
def counting(model: nn.Module, when: Callable[[], bool] = lambda: True) -> Iterator[Callable[[], Passes]]:
    """Count the images that pass through the model's first layer while ``when()``, whichever view they enter by.

    A gradient counts when it comes back to that layer's output. A script, which takes no hooks, is counted at the
    module around it.
    """
    layers = (module for module in model.modules() if next(module.parameters(recurse=False), None) is not None)
    first = next(layers, model)
    first = model if isinstance(first, torch.jit.ScriptModule) else first
    forwards = backwards = 0

    def enter(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        nonlocal forwards
        forwards += when() * len(_images(inputs, named))

    def leave(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        if isinstance(output, Tensor) and output.requires_grad and when():
            output.register_hook(partial(come_back, len(_images(inputs, named))))  # type: ignore[no-untyped-call]

    def come_back(images: int, _: Tensor) -> None:
        nonlocal backwards
        backwards += images

    handles = [
        first.register_forward_pre_hook(enter, with_kwargs=True),
        first.register_forward_hook(leave, with_kwargs=True),
    ]
    try:
        yield lambda: Passes(forwards, backwards)
    finally:
        for handle in handles:
            handle.remove()


def _images(inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
    return next(iter((*inputs, *named.values())))
