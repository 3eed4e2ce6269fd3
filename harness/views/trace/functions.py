"""Custom autograd functions as the plain operations that their forward consists of."""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FunctionType
from typing import Any

from torch import Tensor, nn
from torch.autograd import Function

from harness.compute.memory import attempt


@contextmanager
def plain_functions(model: nn.Module) -> Iterator[None]:
    """In this thread, let ``apply`` of custom functions run their forward under autograd, whatever their backward says.

    That is ``Function.apply``, and what was bound to a name before: an attribute of the model's submodules, or a name
    in the modules where they, the functions among their attributes or custom autograd functions are defined. Other
    references (closures, defaults) are out of reach.
    """
    mine, own = only_here(), vars(Function)["apply"]

    def run(cls: Any, *args: Any, **kwargs: Any) -> Any:
        return _plain(own, cls, args, kwargs) if mine() else own.__get__(None, cls)(*args, **kwargs)

    with changed(Function, "apply", classmethod(run)), _rebound(_namespaces(model), run):
        yield


@contextmanager
def _rebound(namespaces: Iterable[dict[str, Any]], run: Callable[..., Any]) -> Iterator[None]:
    before = []
    try:
        for names in namespaces:
            for name, value in [*names.items()]:
                if _is_apply(value):
                    before.append((names, name, value))
                    names[name] = partial(run, value.__self__)
        yield
    finally:
        for names, name, value in reversed(before):
            names[name] = value


def _is_apply(value: object) -> bool:
    cls = getattr(value, "__self__", None) if getattr(value, "__name__", "") == "apply" else None
    return isinstance(cls, type) and issubclass(cls, Function)


def _namespaces(model: nn.Module) -> Iterator[dict[str, Any]]:
    homes = {cls.__module__ for module in model.modules() for cls in type(module).__mro__}
    homes |= {cls.__module__ for cls in Function.__subclasses__()}
    homes |= {v.__module__ for module in model.modules() for v in vars(module).values() if isinstance(v, FunctionType)}
    yield from (vars(module) for module in model.modules())
    for home in homes:
        if home in sys.modules and home.partition(".")[0] not in ("torch", "builtins"):
            yield vars(sys.modules[home])


class _InertContext:
    """What a custom function's forward writes to when its backward will never be asked."""

    def __init__(self, count: int) -> None:
        self.needs_input_grad = (True,) * count
        self.saved_tensors: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        self.saved_tensors = tensors

    def save_for_forward(self, *tensors: Any) -> None: ...

    def mark_dirty(self, *tensors: Any) -> None: ...

    def mark_non_differentiable(self, *tensors: Any) -> None: ...

    def set_materialize_grads(self, value: bool) -> None: ...


def _plain(own_apply: Any, cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The function's forward as plain operations; itself, where that leaves autograd (a foreign kernel) or fails."""
    context = () if cls.setup_context is not Function.setup_context else (_InertContext(len(args)),)
    result = attempt(lambda: cls.forward(*context, *args, **kwargs), TypeError, RuntimeError, AttributeError)
    results = result if isinstance(result, tuple | list) else (result,)
    wanted = any(isinstance(each, Tensor) and each.requires_grad for each in args)
    if result is None or (wanted and not any(isinstance(each, Tensor) and each.requires_grad for each in results)):
        return own_apply.__get__(None, cls)(*args, **kwargs)
    return result


def only_here() -> Callable[[], bool]:
    """A question that is true in the thread that runs this."""
    here = threading.get_ident()
    return lambda: threading.get_ident() == here


@contextmanager
def changed(owner: Any, name: str, new: Any) -> Iterator[None]:
    """Exchange an attribute for a while."""
    before = vars(owner)[name]
    setattr(owner, name, new)
    try:
        yield
    finally:
        setattr(owner, name, before)
