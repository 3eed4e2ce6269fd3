"""Rules for argmax and its relatives, and for what is looked up by the indices that they give."""

from typing import Any

import torch
from torch import Tensor

from harness.attacks.derived.calls import Call, generic, rule
from harness.attacks.derived.steps import scale_of

# Functions that move indices without changing them, and those that change their shape.
_SAME = ("to", "type", "type_as", "long", "int", "short", "char", "byte", "clone", "contiguous", "cpu", "cuda")
_SHAPED = ("view", "reshape", "unsqueeze", "squeeze", "flatten", "expand", "repeat", "stack", "cat", "transpose")


def softened(z: Tensor, dim: int) -> Tensor:
    """A softmax along ``dim``, two standard deviations to the unit, with that dimension moved to the end."""
    z = z.movedim(dim, -1).float()
    width = (z.detach().std(-1, correction=0).mean() / 2).clamp(min=1e-12)
    return (z / width).softmax(-1)


@rule("argmax", "argmin")
def winner(call: Call) -> Any:
    """The index of the largest is a choice by softmax."""
    value, z = call.run(), call.operand(0, "input")
    dim = call.operand(1, "dim")
    keep = bool(call.operand(2, "keepdim", False))
    if z.requires_grad:
        signed = z if call.name == "argmax" else -z
        soft = softened(signed.flatten() if dim is None else signed, -1 if dim is None else dim)
        call.ledger.choose(value, soft.unsqueeze(dim if dim >= 0 else dim - 1) if keep and dim is not None else soft)
    return value


@rule("max", "min")
def extreme(call: Call) -> Any:
    """The values have their gradient; the indices beside them are a choice by softmax."""
    result, z = generic(call), call.operand(0, "input")
    dim = call.operand(1, "dim")
    if not isinstance(result, Tensor) and isinstance(dim, int) and isinstance(z, Tensor) and z.is_floating_point():
        soft = softened(z if call.name == "max" else -z, dim)
        keep = result[1].dim() == z.dim()
        call.ledger.choose(result[1], soft.unsqueeze(dim if dim >= 0 else dim - 1) if keep else soft)
    return result


@rule("topk")
def winners(call: Call) -> Any:
    """The k largest: each of their indices stands for all, a soft membership about the k-th value."""
    result, z = generic(call), call.operand(0, "input")
    dim = call.operand(2, "dim", -1)
    if isinstance(result, Tensor) or not z.is_floating_point():
        return result
    if result[1].shape[dim] == 1:
        call.ledger.choose(result[1], softened(z, dim).unsqueeze(dim if dim >= 0 else dim - 1))
    elif dim in (-1, z.dim() - 1):
        excess = z - result[0].amin(dim, keepdim=True)
        call.ledger.choose(result[1], (excess / scale_of(excess)).sigmoid().unsqueeze(-2))
    return result


@rule("mode")
def majority(call: Call) -> Any:
    """The most frequent of several indices: a choice by their mean distribution."""
    result, votes = call.run(), call.args[0]
    soft, dim = call.ledger.choice(votes), call.operand(1, "dim", -1)
    if soft is not None and not call.operand(2, "keepdim", False):
        call.ledger.choose(result[0], soft.mean(dim % votes.dim()))
    return result


@rule("one_hot")
def one_hot(call: Call) -> Any:
    """The distribution that the index was chosen with."""
    value = call.run()
    soft = call.ledger.distribution(call.args[0], value.shape[-1])
    return value if soft is None else call.ledger.attach(value, soft.expand(value.shape))


@rule("embedding", "index_select", "__getitem__")
def lookup(call: Call) -> Any:
    """``table[index]`` has the gradient of the table's mean under the index's distribution, besides the table's own."""
    if call.name == "index_select":
        table, index = call.args[0], call.args[2] if call.operand(1, "dim") == 0 else None
    else:
        index, table = call.args[:2] if call.name == "embedding" else call.args[1::-1]
    if not isinstance(index, Tensor) or index.dtype in (torch.bool, torch.uint8) or not call.ledger.knows(index):
        return shaped(call) if call.name == "__getitem__" else generic(call)
    value, table = call.run(), call.ledger.twin(table)
    soft = call.ledger.distribution(index, len(table))
    if soft is None or not table.is_floating_point():
        return value
    path = torch.tensordot(soft.to(table.dtype), table, dims=([-1], [0]))
    return call.ledger.attach(value, path.expand(value.shape))


@rule("gather", "take_along_dim")
def gathered(call: Call) -> Any:
    """``z.gather(dim, index)``: the mean of z under the index's distribution."""
    z = call.operand(0, "input")
    by_dim = call.name == "gather"
    dim, index = (call.operand(1, "dim"), call.args[2]) if by_dim else (call.operand(2, "dim"), call.args[1])
    if not isinstance(dim, int) or not call.ledger.knows(index) or not z.is_floating_point():
        return generic(call)
    value, dim = call.run(), dim % z.dim()
    soft = call.ledger.distribution(index, z.shape[dim])
    if soft is None:
        return value
    soft = soft / soft.detach().sum(-1, keepdim=True)
    return call.ledger.attach(value, (soft * z.movedim(dim, -1).unsqueeze(dim)).sum(-1).expand(value.shape))


@rule("scatter", "scatter_")
def scattered(call: Call) -> Any:
    """``base.scatter(dim, index, v)`` has the gradient of ``base (1 - m) + m v``, m the index's distribution."""
    target, dim, index = call.args[:3]
    source = call.args[3] if len(call.args) > 3 else call.kwargs.get("value", call.kwargs.get("src"))
    written = torch.as_tensor(source).flatten()
    if not call.ledger.knows(index) or bool((written != written[0]).any()) or "reduce" in call.kwargs:
        return generic(call)
    base, dim = call.operand(0), dim % target.dim()
    soft = call.ledger.distribution(index, target.shape[dim])
    before = base.clone()
    value = call.run()
    if soft is None:
        return value
    member = soft.sum(dim).clamp(max=1).movedim(-1, dim)
    path = before * (1 - member) + member * float(written[0])
    if call.name == "scatter" or not value.is_floating_point():
        return call.ledger.attach(value, path)
    return value.copy_(call.ledger.attach(value.detach().clone(), path))


@rule(*_SAME, *_SHAPED)
def shaped(call: Call) -> Any:
    """Indices that are moved or reshaped keep their distributions: each class is treated as they are.

    A float that becomes an integer keeps its gradient, straight through.
    """
    first = next(call.tensors(), None)
    listed = call.args and isinstance(call.args[0], list | tuple)
    members = [call.ledger.choice(each) for each in (call.args[0] if listed else (first,))]
    value = call.run()
    if isinstance(first, Tensor) and first.requires_grad and _whole(value):
        return call.ledger.attach(value, first)
    if not isinstance(value, Tensor) or any(soft is None for soft in members) or value.is_floating_point():
        return generic(call)
    planes = [soft for soft in members if soft is not None]
    if call.name in _SAME:
        call.ledger.choose(value, planes[0])
        return value
    try:
        rest, stacked = call.args[1:], list(zip(*(soft.unbind(-1) for soft in planes), strict=True))
        call.ledger.choose(
            value,
            torch.stack([call.func(list(each) if listed else each[0], *rest, **call.kwargs) for each in stacked], -1),
        )
    except (TypeError, RuntimeError, ValueError, IndexError):
        return value
    return value


def _whole(value: object) -> bool:
    return isinstance(value, Tensor) and not (
        value.is_floating_point() or value.is_complex() or value.dtype == torch.bool
    )
