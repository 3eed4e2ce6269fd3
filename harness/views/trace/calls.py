"""One intercepted call of a torch function, and the register of rules that give some of them another gradient."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from harness.compute.memory import attempt
from harness.views.trace.ledger import Ledger

# What torch and the rules raise where a function does not take what it is given.
FOREIGN = (TypeError, RuntimeError, ValueError, IndexError, AttributeError, KeyError)
# Functions with a flag ``inplace`` as their last argument, and how many arguments they then have.
_FLAGGED = {"relu": 2, "relu6": 2, "hardtanh": 4, "_threshold": 4}


@dataclass
class Call:
    """``func(*args, **kwargs)`` within one forward pass, whose ``ledger`` is shared by all calls.

    ``again`` is the interception itself: what runs under it meets the rules as well.
    """

    name: str
    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    ledger: Ledger
    again: AbstractContextManager[object]

    def run(self) -> Any:
        """The result as it would have been."""
        return self.func(*self.args, **self.kwargs)

    def run_on_twins(self) -> Any:
        """The function on the floating stand-ins of its remembered arguments, under the same rules."""
        args, kwargs = [self._soft(v) for v in self.args], {key: self._soft(v) for key, v in self.kwargs.items()}
        with self.again:
            return self.func(*args, **kwargs)

    def operand(self, position: int, name: str = "other", default: Any = None) -> Any:
        """An argument by position or name; a remembered tensor is replaced by its twin."""
        return self.ledger.twin(self.given(position, name, default))

    def given(self, position: int, name: str, default: Any = None) -> Any:
        """An argument by position or name, as it is."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name, default)

    def writes(self) -> bool:
        """Whether the function changes its first argument in place."""
        named = (self.name.endswith("_") and not self.name.endswith("__")) or self.name == "__setitem__"
        return named or bool(self.name in _FLAGGED and self.given(_FLAGGED[self.name] - 1, "inplace"))

    def elsewhere(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments after the first, without the flag ``inplace``."""
        last = _FLAGGED.get(self.name, len(self.args) + 1) - 1
        return self.args[1:last], {name: value for name, value in self.kwargs.items() if name != "inplace"}

    def tensors(self) -> Iterator[Tensor]:
        """All tensors among the arguments, also those in lists."""
        for argument in (*self.args, *self.kwargs.values()):
            for each in argument if isinstance(argument, list | tuple) else (argument,):
                if isinstance(each, Tensor):
                    yield each

    def traced(self) -> bool:
        """Whether any argument depends on the images, by autograd or through the ledger."""
        return any(each.requires_grad or self.ledger.knows(each) for each in self.tensors())

    def _soft(self, value: Any) -> Any:
        if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
            return type(value)(self.ledger.twin(each) for each in value)
        return self.ledger.twin(value)


Rule = Callable[[Call], Any]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for torch functions of these names; it returns what the call returns."""

    def add(given: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, given))
        return given

    return add


def path_of(call: Call, value: Tensor) -> Tensor | None:
    """The gradient's path to the result ``value`` of a call without a rule of its own, or None.

    It is the same function of the twins. Where no floating result comes of that (bitwise operations, casts to integer)
    the first twin of the result's shape serves, straight through.
    """
    path = attempt(call.run_on_twins, *FOREIGN)
    if isinstance(path, Tensor) and path.is_floating_point() and path.shape == value.shape:
        return path
    if value.is_floating_point():
        return None
    twins = (call.ledger.twin(each) for each in call.tensors() if call.ledger.knows(each))
    return next((twin for twin in twins if twin.shape == value.shape), None)


def generic(call: Call) -> Any:
    """Any function: on floats as it is; with remembered tensors among its arguments, see :func:`path_of`."""
    if not any(call.ledger.knows(each) for each in call.tensors()):
        return call.run()
    target = call.args[0] if call.args else None
    if call.writes() and isinstance(target, Tensor) and target.is_floating_point():
        return call.run_on_twins()
    value = call.run()
    if isinstance(value, tuple | list):
        return _each(call, value)
    if not isinstance(value, Tensor):
        return value
    path = path_of(call, value)
    return value if path is None else call.ledger.attach(value, path)


def _each(call: Call, values: tuple[Any, ...] | list[Any]) -> Any:
    """The same for several results, as of ``unbind`` and ``split``."""
    paths = attempt(call.run_on_twins, *FOREIGN)
    if paths is None:
        return values
    pairs = list(zip(values, paths, strict=True))
    if hasattr(values, "_fields") or not all(isinstance(each, Tensor) for pair in pairs for each in pair):
        return values
    return type(values)([call.ledger.attach(value, path) for value, path in pairs])
