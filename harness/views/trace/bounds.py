"""Rules for clamps: functions that leave a value as it is within their bounds and are flat beyond."""

from typing import Any

import torch
from torch import Tensor

from harness.views.trace.calls import Call, generic, rule

# A clamp between two bounds that leaves fewer values than this alone passes the gradient everywhere.
SATURATED = 0.9
NAMES = ("clamp", "clip", "clamp_min", "clamp_max", "relu", "relu6", "hardtanh", "threshold")


@rule(*NAMES, "_threshold")
def clamp(call: Call) -> Any:
    """At a bound the gradient is that from inside: pixels lie at the bounds, and torch gives zero there.

    A clamp between two bounds that nearly everything saturates passes the gradient outside them too; others do not
    (ReLU6 is one).
    """
    z = call.operand(0, "input")
    value, bounds = generic(call), _bounds(call)
    if not value.is_floating_point():
        return value
    two = call.name in ("clamp", "clip", "hardtanh") and len(bounds) == 2
    if two and not bool((value != z).float().mean() < SATURATED):
        return call.ledger.attach(value.detach(), z)
    return _passed(call, value, z, bounds)


def _bounds(call: Call) -> list[Any]:
    """The one or two bounds: numbers, or tensors that broadcast."""
    if call.name in ("clamp", "clip"):
        return [bound for bound in (call.given(1, "min"), call.given(2, "max")) if bound is not None]
    if call.name == "hardtanh":
        return [call.given(1, "min_val", -1.0), call.given(2, "max_val", 1.0)]
    fixed: dict[str, list[Any]] = {"relu": [0], "relu6": [0, 6]}
    names = {"clamp_min": "min", "clamp_max": "max"}
    return fixed.get(call.name) or [call.given(1, names.get(call.name, "threshold"))]


@rule("minimum", "maximum", "fmin", "fmax")
def bounded(call: Call) -> Any:
    """The smaller or larger of a tensor and a bound, at which torch passes half of the gradient; here it all passes."""
    value, one, other = generic(call), call.operand(0, "input"), call.operand(1)
    if not (value.is_floating_point() and one.requires_grad ^ other.requires_grad):
        return value
    z, bound = (one, other) if one.requires_grad else (other, one)
    return _passed(call, value, z, [bound])


def _passed(call: Call, value: Tensor, z: Tensor, bounds: list[Any]) -> Tensor:
    """``value``, with the gradient of ``z`` where ``z`` lies exactly at a bound and stays there."""
    at = torch.zeros_like(z, dtype=torch.bool)
    for bound in bounds:
        at = at | (z == bound)
    at = at & (value == z)
    if not bool(at.any()):
        return value
    return call.ledger.attach(value.detach(), torch.where(at, z, value))
