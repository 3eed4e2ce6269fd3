"""Passes recorded as CUDA graphs and played back: on a GPU, small batches wait for Python to launch each kernel.

Off unless the environment says ``HARNESS_CUDA_GRAPHS=1``. What is played back are the kernels of the plain pass, so
that no number depends on it. What cannot be recorded, or does not play back what the model says, is computed plainly,
with one warning.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils import _pytree as tree

from harness.api.model import Classifier
from harness.compute.modes import arithmetic_of
from harness.compute.passes import passed, uncounted

log = logging.getLogger("harness")
SWITCH = "HARNESS_CUDA_GRAPHS"
# In larger batches the kernels take longer than their launches.
_MOST = 256
_WARM_UPS = 3
# Of what the model says, by which a recording may differ: kernels may be chosen anew, in bfloat16 too.
_TOLERANCE = 0.05

Pass = Callable[..., Any]


@dataclass
class Recording:
    """A pass over a number of images with tensors of its own: what ``forward`` and ``backward`` read and write.

    ``inputs`` to ``outputs``, which have the structure ``layout``; ``weights``, of the shapes of the outputs, to the
    ``gradient`` of their weighted sum in the first input. A backward pass belongs to the forward pass before it, once:
    ``turns`` counts both.
    """

    inputs: list[Tensor]
    outputs: list[Tensor]
    layout: Any
    forward: Callable[[], object]
    weights: list[Tensor]
    gradient: Tensor | None
    backward: Callable[[], object]
    turns: int = 0


@dataclass
class _Recordings:
    """Those of one module, by size, shape and arithmetic, valid while its weights lie at ``places``."""

    places: tuple[int, ...]
    usable: bool = True
    kept: dict[Any, Recording] = field(default_factory=dict)


_recordings: WeakKeyDictionary[nn.Module, _Recordings] = WeakKeyDictionary()
_busy = False


@contextmanager
def recorded(*models: nn.Module) -> Iterator[None]:
    """Play back the passes of those models that are built on a :class:`Classifier`, if the switch is on.

    They must be in evaluation mode, and their weights stay where they are, meanwhile.
    """
    names: dict[nn.Module, str] = {}
    if os.environ.get(SWITCH, "0") not in ("", "0"):
        names = {each: "heads" if hasattr(each, "heads") else "forward" for each in models if _is_known(each)}
    try:
        for module, name in names.items():
            vars(module)[name] = partial(_play, module, getattr(module, name), _recordings_of(module))
        yield
    finally:
        for module, name in names.items():
            vars(module).pop(name, None)


def _is_known(module: nn.Module) -> bool:
    """Its passes are the same sequence of operations every time, as far as anybody can tell; and it is not in use."""
    plain = not {"heads", "forward"} & vars(module).keys()
    return plain and any(isinstance(each, Classifier) for each in module.modules())


def _recordings_of(module: nn.Module) -> _Recordings:
    places = tuple(each.data_ptr() for each in chain(module.parameters(), module.buffers()))
    known = _recordings.get(module)
    if known is None or known.places != places:
        known = _recordings[module] = _Recordings(places, known is None or known.usable)
    return known


def _play(module: nn.Module, plain: Pass, known: _Recordings, *inputs: Any) -> Any:
    """``plain(*inputs)``: images (M, C, H, W), and maybe labels (M,); from a recording where there can be one."""
    inputs = tuple(each for each in inputs if each is not None)
    if _busy or module.training or not known.usable or not 0 < len(inputs[0]) <= _MOST:
        return plain(*inputs)
    differentiated = torch.is_grad_enabled() and inputs[0].requires_grad
    shapes = tuple((each.shape[1:], each.dtype) for each in inputs)
    key = (_size(len(inputs[0])), shapes, differentiated, arithmetic_of(inputs[0].device))
    if key not in known.kept:
        made = _try_to_record(module, plain, [each.detach() for each in inputs], key[0], differentiated)
        if made is None:
            known.usable = False
            known.kept.clear()
            return plain(*inputs)
        known.kept[key] = made
    recording, come_back = known.kept[key], passed(module, len(inputs[0]))
    outputs = _Played.apply(plain, recording, come_back, *inputs)
    return tree.tree_unflatten(list(outputs), recording.layout)


def _size(count: int) -> int:
    """The images of a recording that serves so many: the next power of two."""
    return 1 << (count - 1).bit_length()


class _Played(torch.autograd.Function):
    """A recorded pass. Where another one came between its two halves, the backward half is computed plainly."""

    @staticmethod
    def forward(
        ctx: Any, plain: Pass, recording: Recording, come_back: Callable[[], None], *inputs: Tensor
    ) -> tuple[Tensor, ...]:
        outputs = _forward(recording, inputs)
        ctx.plain, ctx.recording, ctx.come_back = plain, recording, come_back
        ctx.turn, ctx.again = recording.turns, _same_arithmetic(inputs[0].device)
        ctx.save_for_backward(*inputs)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *weights: Tensor) -> tuple[Tensor | None, ...]:
        inputs: tuple[Tensor, ...] = ctx.saved_tensors
        if ctx.turn == ctx.recording.turns:
            gradient = _backward(ctx.recording, weights)
        else:
            with uncounted(), ctx.again():
                gradient = _plain_gradient(ctx.plain, inputs, weights)
        ctx.come_back()
        return (None, None, None, gradient, *(None for _ in inputs[1:]))


def _forward(recording: Recording, inputs: Sequence[Tensor]) -> list[Tensor]:
    count = len(inputs[0])
    for own, given in zip(recording.inputs, inputs, strict=True):
        own.detach()[:count].copy_(given)
    recording.turns += 1
    recording.forward()
    return [output.detach()[:count].clone() for output in recording.outputs]


def _backward(recording: Recording, weights: Sequence[Tensor]) -> Tensor:
    assert recording.gradient is not None
    count = len(weights[0])
    for own, given in zip(recording.weights, weights, strict=True):
        own[:count].copy_(given)
    recording.turns += 1
    recording.backward()
    return recording.gradient[:count].clone()


def _plain_gradient(plain: Pass, inputs: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    with torch.enable_grad():
        x = inputs[0].detach().requires_grad_()
        outputs = tree.tree_leaves(plain(x, *inputs[1:]))
    return torch.autograd.grad(outputs, x, list(weights))[0]


def _same_arithmetic(device: torch.device) -> Callable[[], torch.autocast]:
    enabled, dtype = torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type)
    return lambda: torch.autocast(device.type, dtype, enabled=enabled, cache_enabled=False)


def _try_to_record(
    module: nn.Module, plain: Pass, inputs: list[Tensor], size: int, differentiated: bool
) -> Recording | None:
    """A recording that plays back what ``plain`` says of other images too; or a warning."""
    global _busy
    try:
        _busy = True
        with uncounted():
            made = record(plain, [_padded(each, size) for each in inputs], differentiated)
            _check(made, plain, [inputs[0].flip(0, -1), *inputs[1:]], differentiated)
    except Exception as error:
        name, reason = type(module).__name__, str(error).partition("\n")[0]
        log.warning("%s cannot be recorded (%s: %s): it is computed plainly", name, type(error).__name__, reason)
        return None
    finally:
        _busy = False
    return made


def _padded(tensor: Tensor, size: int) -> Tensor:
    """So many images, or labels: the last one over again."""
    return torch.cat([tensor, tensor[-1:].expand(size - len(tensor), *tensor.shape[1:])])


def record(plain: Pass, inputs: list[Tensor], differentiated: bool) -> Recording:
    """Record a pass over all of ``inputs``, the tensors that it will read; ``differentiated`` by the first one."""
    inputs[0].requires_grad_(differentiated)
    with torch.cuda.device(inputs[0].device), torch.set_grad_enabled(differentiated):
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        graph, back = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                outputs = tree.tree_leaves(plain(*inputs))
                if differentiated:
                    torch.autograd.grad(outputs, inputs[0], [torch.zeros_like(each) for each in outputs])
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(graph, stream=stream):
            outputs, layout = tree.tree_flatten(plain(*inputs))
        weights, gradient = [torch.zeros_like(each) for each in outputs], None
        if differentiated:
            with torch.cuda.graph(back, pool=graph.pool(), stream=stream):
                (gradient,) = torch.autograd.grad(outputs, inputs[0], weights)
    return Recording(inputs, outputs, layout, graph.replay, weights, gradient, back.replay)


def _check(recording: Recording, plain: Pass, inputs: list[Tensor], differentiated: bool) -> None:
    pairs = list(zip(_forward(recording, inputs), tree.tree_leaves(plain(*inputs)), strict=True))
    if differentiated:
        weights = [torch.ones_like(output) for output, _ in pairs]
        pairs.append((_backward(recording, weights), _plain_gradient(plain, inputs, weights)))
    for played, wanted in pairs:
        if not (played - wanted).norm() <= _TOLERANCE * wanted.norm():
            raise ValueError("what is played back differs from what it says")
