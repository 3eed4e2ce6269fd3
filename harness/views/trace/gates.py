"""Rules for comparisons and for what selects by them: where, masked_fill and assignment to a mask."""

from typing import Any

import torch
from torch import Tensor

from harness.views.trace.calls import Call, generic, rule
from harness.views.trace.steps import scale_of

# A masked value beyond this stands for minus infinity and says nothing about how much the mask matters.
_HUGE = 1e4

_ABOVE = {"gt", "ge", "greater", "greater_equal", "__gt__", "__ge__"}


@rule("gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal")
def comparison(call: Call) -> Any:
    """``a > b`` has the gradient of a sigmoid of ``a - b``, as wide as the differences are on average."""
    value = call.run()
    difference = call.operand(0, "input") - call.operand(1)
    soft = (difference / scale_of(difference)).sigmoid()
    return call.ledger.attach(value, soft if call.name in _ABOVE else 1 - soft)


@rule("eq", "ne", "not_equal", "__eq__", "__ne__")
def equality(call: Call) -> Any:
    """``a == b`` has the gradient of a bell of ``a - b``; of an index, that of its probability."""
    value = call.run()
    if not isinstance(value, Tensor):
        return value
    soft = _agreement(call, value)
    if soft is None:
        difference = call.operand(0, "input") - call.operand(1)
        soft = (-(difference / scale_of(difference).clamp(min=1e-6)).square() / 2).exp()
    return call.ledger.attach(value, soft if call.name in ("eq", "__eq__") else 1 - soft)


def _agreement(call: Call, value: Tensor) -> Tensor | None:
    """The probability that an index equals the other side, a number or indices of any shape that broadcasts."""
    one, other = call.args[0], call.args[1] if len(call.args) > 1 else call.kwargs.get("other")
    soft, second = call.ledger.choice(one), call.ledger.choice(other)
    if soft is not None and second is not None:
        return (soft * second).sum(-1)
    if soft is None:
        soft, other = second, one
    if soft is None:
        return None
    wanted = torch.as_tensor(other, device=soft.device).long().clamp(0, soft.shape[-1] - 1)
    lead = value.shape
    return soft.expand(*lead, -1).gather(-1, wanted.expand(lead)[..., None])[..., 0]


@rule("logical_not", "bitwise_not", "__invert__")
def negation(call: Call) -> Any:
    """``1 - p``."""
    value = call.run()
    return call.ledger.attach(value, 1 - call.operand(0, "input")) if value.dtype == torch.bool else value


@rule("logical_and", "bitwise_and", "__and__", "__rand__", "logical_or", "bitwise_or", "__or__", "__ror__")
def connective(call: Call) -> Any:
    """``p q`` and ``p + q - p q``, of booleans."""
    if call.run().dtype != torch.bool:
        return generic(call)
    p, q = call.operand(0, "input"), call.operand(1)
    both = p * q
    return call.ledger.attach(call.run(), both if "and" in call.name else p + q - both)


@rule("logical_xor", "bitwise_xor", "__xor__", "__rxor__")
def difference(call: Call) -> Any:
    """``p + q - 2 p q``, of booleans."""
    if call.run().dtype != torch.bool:
        return generic(call)
    p, q = call.operand(0, "input"), call.operand(1)
    return call.ledger.attach(call.run(), p + q - 2 * p * q)


@rule("any", "all")
def quantifier(call: Call) -> Any:
    """The largest or the smallest of the soft values."""
    value, soft = call.run(), call.operand(0, "input")
    if not isinstance(value, Tensor) or not soft.is_floating_point():
        return value
    reduce = torch.amax if call.name == "any" else torch.amin
    return call.ledger.attach(value, reduce(soft, *call.args[1:], **call.kwargs))


@rule("where")
def selection(call: Call) -> Any:
    """``where(m, a, b)`` has the gradient of ``m a + (1 - m) b``: the mask counts as far as a and b differ."""
    if len(call.args) < 3:
        return generic(call)
    return _blend(call, call.run(), call.args[0], call.operand(1), call.operand(2))


@rule("masked_fill")
def filling(call: Call) -> Any:
    """``masked_fill(z, m, v)`` is ``where(m, v, z)``."""
    value, z = call.run(), call.operand(0, "input")
    mask = call.args[1] if len(call.args) > 1 else call.kwargs["mask"]
    return _blend(call, value, mask, call.operand(2, "value"), z)


@rule("__setitem__")
def assignment(call: Call) -> Any:
    """``z[m] = v`` with a remembered mask and one value is ``where(m, v, z)`` in place."""
    target, mask, filler = call.args
    simple = not isinstance(filler, Tensor) or filler.numel() == 1
    if not (isinstance(mask, Tensor) and call.ledger.knows(mask) and simple and mask.shape == target.shape):
        return generic(call)
    before = call.operand(0).clone()
    value = torch.where(mask, torch.as_tensor(filler, dtype=target.dtype, device=target.device), target)
    blended = _blend(call, value, mask, call.ledger.twin(filler), before)
    if target.is_floating_point():
        target.copy_(blended)
    else:
        call.run()
        call.ledger.attach(target, call.ledger.twin(blended))
    return None


def _blend(call: Call, value: Tensor, mask: Tensor, yes: Any, no: Any) -> Tensor:
    hard = mask.to(value.dtype if value.is_floating_point() else torch.get_default_dtype())
    soft = call.ledger.twin(mask) if call.ledger.knows(mask) else hard
    gap = torch.as_tensor(yes - no)
    if not bool(gap.detach().abs().max() < _HUGE):
        return value if value.is_floating_point() else call.ledger.attach(value, torch.zeros(()))
    return call.ledger.attach(value, soft * yes + (1 - soft) * no)
