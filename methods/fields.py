"""Hyperparameters with their ranges, and the one check of them all."""

from dataclasses import Field, dataclass, field, fields
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

from harness.api.errors import HarnessError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class _Range:
    low: float
    high: float
    kind: type[int] | type[float]

    def contains(self, value: object) -> bool:
        numbers = (int,) if self.kind is int else (int, float)
        if not isinstance(value, numbers) or isinstance(value, bool):
            return False
        return isfinite(value) and self.low <= value <= self.high

    def __str__(self) -> str:
        noun = "whole number" if self.kind is int else "number"
        bounds = f"of at least {self.low:g}" if self.high == inf else f"from {self.low:g} to {self.high:g}"
        return f"a {noun} {bounds}"


def real(default: float, *, low: float = 0.0, high: float = inf) -> Any:
    """A dataclass field for a finite number in [low, high]."""
    return field(default=default, metadata={"range": _Range(low, high, float)})


def count(default: int, *, low: int = 1) -> Any:
    """A dataclass field for a whole number of at least ``low``."""
    return field(default=default, metadata={"range": _Range(low, inf, int)})


def check(method: "DataclassInstance") -> None:
    """Every field declared with :func:`real` or :func:`count` must lie in its range.

    Raises:
        HarnessError: naming the class, the field, its range and the value.
    """
    for each in fields(method):
        _check(type(method).__name__, each, getattr(method, each.name))


def _check(owner: str, declared: Field[Any], value: object) -> None:
    allowed = declared.metadata.get("range")
    if allowed is not None and not allowed.contains(value):
        raise HarnessError(f"{owner}: {declared.name} must be {allowed}, got {value!r}")
