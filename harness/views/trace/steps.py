"""Rules for functions that are flat almost everywhere, saturated or oscillating: rounding, sign, sigmoid, sine."""

import math
from typing import Any

from torch import Tensor

from harness.views.trace.calls import Call, generic, rule

# Where sigmoid, tanh and softmax have lost most of a float32 gradient, in units of their argument.
STEEP = 15.0
# So many periods within one tensor make the local mean of an oscillation (zero) a better slope than its derivative.
PERIODS = 2.0

_TINY = 1e-12


@rule("round", "floor", "ceil", "trunc", "fix")
def straight_through(call: Call) -> Any:
    """Rounding passes the gradient as if it were the identity; https://arxiv.org/abs/1308.3432."""
    return call.ledger.attach(call.run(), call.operand(0, "input"))


@rule("floor_divide", "__floordiv__", "div", "divide")
def quotient(call: Call) -> Any:
    """A rounded quotient has the gradient of the exact one."""
    if call.name in ("div", "divide") and not call.kwargs.get("rounding_mode"):
        return generic(call)
    return call.ledger.attach(call.run(), call.operand(0, "input") / call.operand(1))


@rule("remainder", "fmod", "__mod__", "frac")
def remainder(call: Call) -> Any:
    """What division leaves over, over several periods: a sawtooth, whose mean slope is zero.

    So ``x - x % step`` has the gradient of ``x``.
    """
    value, z = call.run(), call.operand(0, "input")
    period = call.operand(1, default=1.0)
    if not isinstance(z, Tensor) or _spread(z / period) < PERIODS:
        return generic(call)
    return call.ledger.attach(value, 0 * z)


@rule("sin", "cos")
def oscillation(call: Call) -> Any:
    """A sine over several periods: its local mean, zero, has no slope."""
    value, z = call.run(), call.operand(0, "input")
    return call.ledger.attach(value, 0 * z) if _spread(z) > PERIODS * 2 * math.pi else value


@rule("sign", "sgn", "heaviside", "signbit")
def sign(call: Call) -> Any:
    """A step has the gradient of a soft one as wide as the values are spread."""
    z = call.operand(0, "input")
    if not z.is_floating_point():
        return generic(call)
    soft = (z / scale_of(z)).sigmoid()
    path = {"heaviside": soft, "signbit": 1 - soft}.get(call.name, 2 * soft - 1)
    return call.ledger.attach(call.run(), path)


@rule("sigmoid", "tanh", "softmax", "softmin")
def saturation(call: Call) -> Any:
    """A steep sigmoid or softmax has the gradient of a milder one: of its argument divided by how steep it is."""
    z = call.operand(0, "input")
    value = generic(call)
    if not isinstance(z, Tensor) or not z.is_floating_point():
        return value
    steepness = _steepness(z, call)
    if not steepness > STEEP:
        return value
    milder = call.func(z * (2 / steepness), *call.args[1:], **{k: v for k, v in call.kwargs.items() if k != "input"})
    return call.ledger.attach(value.detach(), milder)


@rule("bernoulli")
def coin(call: Call) -> Any:
    """A coin has the gradient of its probability, which is its mean's."""
    p = call.operand(0, "input")
    value = call.run()
    return call.ledger.attach(value, p) if len(call.args) < 2 and "p" not in call.kwargs else value


@rule("bucketize", "searchsorted")
def bucket(call: Call) -> Any:
    """A bucket's number rises evenly across the range of the boundaries."""
    first, second = call.operand(0, "input"), call.operand(1, "boundaries")
    z, edges = (first, second) if call.name == "bucketize" else (call.operand(1, "input"), first)
    value = call.run()
    if not isinstance(z, Tensor) or edges.shape[-1] < 2:
        return value
    width = (edges[..., -1:] - edges[..., :1]).abs() / (edges.shape[-1] - 1)
    return call.ledger.attach(value, z / width.clamp(min=_TINY))


def scale_of(z: Tensor) -> Tensor:
    """How far the values are from zero on average: a constant, never zero."""
    return z.detach().abs().mean().clamp(min=_TINY)


def _spread(z: Tensor) -> float:
    z = z.detach()
    return float(z.max() - z.min()) if z.numel() else 0.0


def _steepness(z: Tensor, call: Call) -> float:
    """The median size of a sigmoid's argument, or gap between a softmax's two largest."""
    z = z.detach().float()
    if call.name in ("sigmoid", "tanh"):
        return float(z.abs().median())
    dim = call.operand(1, "dim", -1)
    if not isinstance(dim, int) or z.shape[dim] < 2:
        return 0.0
    top = (z if call.name == "softmax" else -z).topk(2, dim).values
    gap: Tensor = (top.select(dim, 0) - top.select(dim, 1)).median()
    return float(gap)
