"""A model's forward pass as it is, with a useful backward pass in place of its own.

Backward pass differentiable approximation: Athalye et al. 2018, https://arxiv.org/abs/1802.00420.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from harness.compute.gradients import finite
from harness.compute.memory import attempt
from harness.views.trace import bounds, gates, indices, ranking, steps
from harness.views.trace.calls import FOREIGN, RULES, Call, generic
from harness.views.trace.functions import changed, only_here, plain_functions
from harness.views.trace.ledger import Ledger, graft

TABLES = (steps, bounds, gates, ranking, indices)  # the modules whose import fills RULES

# What may change a tensor in place by a rule: its result is copied into the tensor, with its gradient.
_IN_PLACE = {
    *("round", "floor", "ceil", "trunc", "fix", "frac", "remainder", "fmod", "floor_divide", "div", "divide"),
    *("sin", "cos", "sign", "sgn", "sigmoid", "tanh", "masked_fill", *bounds.NAMES),
}

_ONE_AT_A_TIME = threading.RLock()


class Substitutes(TorchFunctionMode):
    """Intercepts the torch functions of one forward pass on so many images.

    With ``bridge``, gradients that are not finite count as zero where they arise.
    """

    def __init__(self, images: int, *, bridge: bool = False) -> None:
        super().__init__()
        self.ledger = Ledger(images)
        self.left: list[Tensor] = []
        self.bridge = bridge

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """See :class:`torch.overrides.TorchFunctionMode`."""
        kwargs = kwargs or {}
        name = _name_of(func)
        if name == "_set_grad_enabled":
            return func(True)
        if not args and "input" in kwargs:
            args, kwargs = (kwargs["input"],), {k: v for k, v in kwargs.items() if k != "input"}
        call = Call(name, func, args, kwargs, self.ledger, self)
        if name in ("tensor", "as_tensor"):
            return self.entered(call.run())
        if not call.traced():
            return call.run()
        if name in _TAPE:
            return _TAPE[name](self, call)
        if _writes_own(call):
            with torch.no_grad():
                return call.run()
        result = self._ruled(call)
        if self.bridge and isinstance(result, Tensor) and result.requires_grad and result.grad_fn is not None:
            result.register_hook(finite)  # type: ignore[no-untyped-call]
        return result

    def entered(self, value: Tensor) -> Tensor:
        """A tensor made of foreign data continues the first of its shape that left autograd and has not come back."""
        if value.requires_grad or value.dim() < 2:
            return value
        for position, before in enumerate(self.left):
            path = _aligned(before, value.shape)
            if path is not None:
                del self.left[position]
                return self.ledger.attach(value, path)
        return value

    def _ruled(self, call: Call) -> Any:
        base = call.name.strip("_")
        in_place = base in _IN_PLACE and call.writes() and call.args[0].is_floating_point()
        work = partial(self._in_place, call, base) if in_place else partial(RULES.get(call.name, generic), call)
        done = attempt(lambda: (work(),), *FOREIGN)
        return done[0] if done else call.run()

    def _in_place(self, call: Call, base: str) -> Any:
        target, before = call.args[0], call.args[0].clone()
        func = getattr(torch.Tensor, base, None) or getattr(F, base)
        args, kwargs = call.elsewhere()
        return target.copy_(RULES[base](Call(base, func, (before, *args), kwargs, self.ledger, self)))


@contextmanager
def substituted(model: nn.Module, x: Tensor, *, bridge: bool = False) -> Iterator[None]:
    """Run the block's forward passes of ``model`` on ``x`` (N, C, H, W) with substitutes, then undo everything.

    Custom autograd functions run their forward as plain operations, backward hooks are away, ``no_grad`` and
    ``inference_mode`` do nothing, and what comes from numpy continues what went there, all in this thread alone;
    another thread's block waits. With ``bridge``, submodules that take or give images without a gradient are treated
    as the identity, and gradients that are not finite count as zero where they arise.
    """
    mode = Substitutes(len(x), bridge=bridge)
    mine = only_here()
    inference, from_numpy = torch.inference_mode, torch.from_numpy
    enter, leave = inference.__enter__, inference.__exit__
    changes: list[tuple[Any, str, Any]] = [
        (inference, "__enter__", lambda this: None if mine() else enter(this)),
        (inference, "__exit__", lambda this, *e: None if mine() else leave(this, *e)),
        (torch, "from_numpy", lambda array: mode.entered(from_numpy(array)) if mine() else from_numpy(array)),
    ]
    with _ONE_AT_A_TIME, ExitStack() as stack:
        for owner, name, new in changes:
            stack.enter_context(changed(owner, name, new))
        stack.enter_context(plain_functions(model))
        stack.enter_context(_no_backward_hooks(model))
        if bridge:
            stack.enter_context(_identities(model, x))
        stack.enter_context(mode)
        yield


def _name_of(func: Callable[..., Any]) -> str:
    name = str(getattr(func, "__name__", ""))
    if name in ("__get__", "__set__"):
        return f"{getattr(getattr(func, '__self__', None), '__name__', '')}.{name}"
    return name.partition(".")[0]


def _through(mode: Substitutes, call: Call) -> Any:
    """``detach`` and ``data``: the same storage, and the gradient goes on, but not to a leaf of the model's own."""
    source: Tensor = call.args[0]
    if _own(source):
        return call.run()
    return source.view_as(source) if source.is_floating_point() else indices.shaped(call)


def _writes_own(call: Call) -> bool:
    """Whether a leaf of the model's own is written to, which autograd allows where no gradient is recorded alone."""
    return call.writes() and _own(next(call.tensors()))


def _own(tensor: Tensor) -> bool:
    """Whether the model made this leaf, for a gradient of its own."""
    return tensor.is_leaf and tensor.requires_grad


def _kept(mode: Substitutes, call: Call) -> Any:
    return call.args[0]


def _require(mode: Substitutes, call: Call) -> Any:
    """What depends on the images cannot be made a leaf: it keeps its history, and its ``grad`` can be read."""
    if call.args[0].grad_fn is None:
        return call.run()
    call.args[0].retain_grad()
    return call.args[0]


def _set_data(mode: Substitutes, call: Call) -> Any:
    target, source = call.args
    if _own(target) or isinstance(target, nn.Parameter) or target.shape != source.shape:
        target.data = source.detach()
    else:
        target.copy_(source)


def _leave(mode: Substitutes, call: Call) -> Any:
    """To numpy or a list: the tensor is remembered, its values go."""
    source = call.args[0]
    mode.left.append(mode.ledger.twin(source))
    return call.func(source.detach(), *call.args[1:], **call.kwargs)


def _apply(mode: Substitutes, call: Call) -> Any:
    """``apply_`` and ``map_``, a Python function of each value: straight through."""
    target = call.args[0]
    return target.copy_(graft(call.func(target.detach().clone(), *call.args[1:], **call.kwargs), target.clone()))


def _differentiate(mode: Substitutes, call: Call) -> Any:
    """A gradient taken within the forward pass must leave the graph for the attack's own."""
    return call.func(*call.args, **{**call.kwargs, "retain_graph": True})


class _NoHandle:
    def remove(self) -> None:
        """Nothing was registered."""


_TAPE: dict[str, Callable[[Substitutes, Call], Any]] = {
    **dict.fromkeys(("detach", "data.__get__"), _through),
    **dict.fromkeys(("requires_grad_", "requires_grad.__set__"), _require),
    **dict.fromkeys(("numpy", "__array__", "tolist", "__dlpack__"), _leave),
    **dict.fromkeys(("grad", "backward"), _differentiate),
    **dict.fromkeys(("apply_", "map_"), _apply),
    "detach_": _kept,
    "data.__set__": _set_data,
    "register_hook": lambda mode, call: _NoHandle(),
}


def _aligned(before: Tensor, shape: torch.Size) -> Tensor | None:
    """``before`` as a path to a tensor of this shape: as it is, with channels moved, or resized; else None."""
    orders: dict[int, list[tuple[int, ...]]] = {4: [(0, 2, 3, 1), (0, 3, 1, 2)], 3: [(1, 2, 0), (2, 0, 1)]}
    for order in (tuple(range(before.dim())), *orders.get(before.dim(), [])):
        if before.permute(order).shape == shape:
            return before.permute(order)
    return resized(before, shape) if before.dim() == 4 == len(shape) else None


def resized(images: Tensor, shape: torch.Size) -> Tensor | None:
    """Images (N, C, H, W) at another height and width, or averaged to one channel; None for another N or C."""
    if images.shape[0] != shape[0] or shape[1] not in (1, images.shape[1]):
        return None
    if shape[1] != images.shape[1]:
        images = images.mean(1, keepdim=True)
    if images.shape[2:] == shape[2:]:
        return images
    return F.interpolate(images, size=tuple(shape[2:]), mode="bilinear", align_corners=False)


@contextmanager
def _no_backward_hooks(model: nn.Module) -> Iterator[None]:
    before = [(module, module._backward_hooks, module._backward_pre_hooks) for module in model.modules()]
    try:
        for module, _, _ in before:
            module._backward_hooks, module._backward_pre_hooks = OrderedDict(), OrderedDict()
        yield
    finally:
        for module, hooks, pre_hooks in before:
            module._backward_hooks, module._backward_pre_hooks = hooks, pre_hooks


@contextmanager
def _identities(model: nn.Module, x: Tensor) -> Iterator[None]:
    """Opaque preprocessing as the identity (BPDA): where an image-shaped tensor has lost its gradient, x's goes on."""

    def lost(value: object) -> Tensor | None:
        image = isinstance(value, Tensor) and value.dim() == 4 and value.is_floating_point()
        return resized(x, value.shape) if image and not value.requires_grad else None  # type: ignore[attr-defined]

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
        path = lost(inputs[0]) if inputs else None
        return None if path is None else (graft(inputs[0], path), *inputs[1:])

    def after(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        path = lost(output)
        return None if path is None else graft(output, path)

    inside = [module for module in model.modules() if module is not model]
    handles = [module.register_forward_pre_hook(before) for module in inside]
    handles += [module.register_forward_hook(after) for module in inside]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
