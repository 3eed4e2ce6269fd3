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


class _Counter:
    def __init__(self, first: nn.Module, when: Callable[[], bool]) -> None:
        self.first, self.when = first, when
        self.forwards = self.backwards = 0

    def enter(self, _: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.forwards += self.when() * len(_images(inputs, named))

    def leave(self, _: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        if isinstance(output, Tensor) and output.requires_grad and self.when():
            output.register_hook(partial(self.come_back, len(_images(inputs, named))))  # type: ignore[no-untyped-call]

    def come_back(self, images: int, _: object = None) -> None:
        self.backwards += images


_counters: list[_Counter] = []


@contextmanager
def counting(model: nn.Module, when: Callable[[], bool] = lambda: True) -> Iterator[Callable[[], Passes]]:
    """Count the images that pass through the model's first layer while ``when()``, whichever view they enter by.

    A gradient counts when it comes back to that layer's output. A script, which takes no hooks, is counted at the
    module around it.
    """
    counter = _Counter(_first_layer(model), when)
    handles = [
        counter.first.register_forward_pre_hook(counter.enter, with_kwargs=True),
        counter.first.register_forward_hook(counter.leave, with_kwargs=True),
    ]
    _counters.append(counter)
    try:
        yield lambda: Passes(counter.forwards, counter.backwards)
    finally:
        _counters.remove(counter)
        for handle in handles:
            handle.remove()


@contextmanager
def uncounted() -> Iterator[None]:
    """Nothing that passes meanwhile counts."""
    before = [(counter, counter.forwards, counter.backwards) for counter in _counters]
    try:
        yield
    finally:
        for counter, forwards, backwards in before:
            counter.forwards, counter.backwards = forwards, backwards


def passed(model: nn.Module, images: int) -> Callable[[], None]:
    """Count a forward pass that no layer of ``model`` saw; to be called when the gradient has come back."""
    first = _first_layer(model)
    seeing = [counter for counter in _counters if counter.first is first and counter.when()]
    for counter in seeing:
        counter.forwards += images

    def come_back() -> None:
        for counter in seeing:
            counter.come_back(images)

    return come_back


def _first_layer(model: nn.Module) -> nn.Module:
    layers = (module for module in model.modules() if next(module.parameters(recurse=False), None) is not None)
    first = next(layers, model)
    return model if isinstance(first, torch.jit.ScriptModule) else first


def _images(inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
    return next(iter((*inputs, *named.values())))
