"""Context managers that change a model for a while and give it back exactly as it was."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

_EXACT = 10


@contextmanager
def evaluating(*models: nn.Module) -> Iterator[None]:
    """Put the models in evaluation mode, then give every submodule back its own mode.

    ``model.eval()`` is not called: a foreign model may have a ``train`` of its own that does something else.
    """
    every = (module for model in models for module in model.modules())
    before = {module: module.training for module in every if hasattr(module, "training")}  # a frozen script has none
    try:
        for module in before:
            module.training = False
        yield
    finally:
        for module, training in before.items():
            module.training = training


@contextmanager
def frozen(*models: nn.Module) -> Iterator[None]:
    """Stop gradients to the parameters while an attack differentiates the input: about a third of the work.

    Each parameter's ``requires_grad`` is given back afterwards; ``grad`` is never touched.
    """
    before = {parameter: parameter.requires_grad for model in models for parameter in model.parameters()}
    try:
        for parameter in before:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter, required in before.items():
            parameter.requires_grad_(required)


def to_channels_last(*models: nn.Module) -> None:
    """Lay the convolutions' weights out as cuDNN and oneDNN like them best; activations follow. No number changes."""
    for parameter in _convolutional(models):
        data = parameter.data
        _, channels, height, width = data.shape
        strides = (channels * height * width, 1, channels * width, channels)
        # Not ``contiguous(memory_format=...)``, which leaves a weight with one input channel as it is.
        parameter.data = torch.empty_strided(data.shape, strides, dtype=data.dtype, device=data.device).copy_(data)


@contextmanager
def channels_last(*models: nn.Module) -> Iterator[None]:
    """:func:`to_channels_last` for a while. A model that reshapes activations with ``view`` may fail meanwhile."""
    before = {parameter: parameter.data for parameter in _convolutional(models)}
    try:
        to_channels_last(*models)
        yield
    finally:
        for parameter, data in before.items():
            parameter.data = data


def _convolutional(models: Iterable[nn.Module]) -> list[nn.Parameter]:
    return list(dict.fromkeys(p for model in models for p in model.parameters() if p.dim() == 4))


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Compute on so many CPU threads, then on as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def computing_in(precision: str, device: torch.device) -> torch.autocast:
    """The precision of matrix products and convolutions: ``float32`` or ``bfloat16``; weights stay in float32."""
    # No cache: a cast made while the weights are frozen for an attack must not serve the training forward pass.
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False)


def is_rough(device: torch.device) -> bool:
    """Whether what surrounds the call computes in less than float32: by :func:`computing_in`, or by TF32 on a GPU."""
    return torch.is_autocast_enabled(device.type) or (device.type == "cuda" and bool(_rounding_backends()))


def arithmetic_of(device: torch.device) -> tuple[object, ...]:
    """What the numbers of a pass depend on beside its model and images: autocast, and what is rounded to TF32."""
    return torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type), len(_rounding_backends())


def exact_steps(steps: int, device: torch.device) -> int:
    """How many of a search's last steps are made in float32: a tenth, at least one; none if all are anyway."""
    return math.ceil(steps / _EXACT) if is_rough(device) else 0


@contextmanager
def ending_exactly(steps: int, device: torch.device) -> Iterator[Callable[[int], bool]]:
    """A search whose last :func:`exact_steps` are made in :func:`exact_float32`.

    What is yielded is called at the beginning of every step, with its number from 0; it says whether float32 begins
    with this one.
    """
    begin = steps - exact_steps(steps, device)
    with ExitStack() as stack:

        def at(step: int) -> bool:
            if step != begin:
                return False
            stack.enter_context(exact_float32(device))
            return True

        yield at


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Float32 arithmetic as it is written: no autocast, and no TF32 in matrix products or convolutions.

    PyTorch lets cuDNN round the inputs of convolutions to 10 bits (TF32) unless it is told otherwise.
    """
    rounded = _rounding_backends()
    try:
        for backend in rounded:
            backend.fp32_precision = "ieee"
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for backend in rounded:
            backend.fp32_precision = "tf32"


def _rounding_backends() -> list[Any]:
    backends: Any = torch.backends
    every = (backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul)
    return [each for each in every if each.fp32_precision == "tf32"]
