"""How many images pass through a model."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def counting(model: nn.Module, when: Callable[[], bool] = lambda: True) -> Iterator[Callable[[], int]]:
    """Count the images that pass through the model's first layer while ``when()``, whichever view they enter by.

    A script, which takes no hooks, is counted at the module around it.
    """
    layers = (module for module in model.modules() if next(module.parameters(recurse=False), None) is not None)
    first = next(layers, model)
    first = model if isinstance(first, torch.jit.ScriptModule) else first
    seen = 0

    def count(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        nonlocal seen
        seen += when() * len(next(iter((*inputs, *named.values()))))

    handle = first.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield lambda: seen
    finally:
        handle.remove()
