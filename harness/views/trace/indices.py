"""Rules for what is looked up and moved by indices that were chosen."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from harness.compute.memory import attempt
from harness.views.trace.calls import FOREIGN, Call, generic, rule

# Functions that move indices without changing them, and those that change their shape.
_SAME = ("to", "type", "type_as", "long", "int", "short", "char", "byte", "clone", "contiguous", "cpu", "cuda")
_SHAPED = ("view", "reshape", "unsqueeze", "squeeze", "flatten", "expand", "repeat", "stack", "cat", "transpose")
# A number that serves as an index stands for the entries this near to its own.
_NEAR = 4


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
        table, index = call.given(0, "input"), call.given(2, "index") if call.given(1, "dim") == 0 else None
    else:
        index, table = call.args[:2] if call.name == "embedding" else call.args[1::-1]
        index = _first(index)
    if not isinstance(index, Tensor) or index.dtype in (torch.bool, torch.uint8) or not call.ledger.knows(index):
        return shaped(call) if call.name == "__getitem__" else generic(call)

    def over(z: Tensor, soft: Tensor) -> Tensor:
        mean: Tensor = torch.tensordot(soft.to(z.dtype), z, dims=([-1], [0]))
        return mean

    return _read(call, call.ledger.twin(table), index, len(table), over, lambda z, i: z[i])


def _first(index: object) -> object:
    """``index`` of ``table[index]`` or of ``table[index, :, ...]``, which is the same."""
    if isinstance(index, tuple) and index and all(each in (slice(None), ...) for each in index[1:]):
        return index[0]
    return index


@rule("gather", "take_along_dim")
def gathered(call: Call) -> Any:
    """``z.gather(dim, index)``: the mean of z under the index's distribution."""
    z, by_dim = call.operand(0, "input"), call.name == "gather"
    dim = call.given(1 if by_dim else 2, "dim")
    index = call.given(2, "index") if by_dim else call.given(1, "indices")
    if not isinstance(dim, int) or not call.ledger.knows(index):
        return generic(call)
    dim = dim % z.dim()
    if by_dim:
        z = z[tuple(slice(None if d == dim else size) for d, size in enumerate(index.shape))]

    def over(z: Tensor, soft: Tensor) -> Tensor:
        shares = soft / soft.detach().sum(-1, keepdim=True)  # a membership of several sums to their number
        return (shares * z.movedim(dim, -1).unsqueeze(dim)).sum(-1)

    return _read(call, z, index, z.shape[dim], over, lambda z, i: z.take_along_dim(i, dim))


def _read(
    call: Call,
    table: Tensor,
    index: Tensor,
    size: int,
    over: Callable[[Tensor, Tensor], Tensor],
    at: Callable[[Tensor, Tensor], Tensor],
) -> Any:
    """What the call reads, with the gradient of a mean of the table.

    ``over(table, soft)`` is the mean under the distribution (..., size) with which the index was chosen; where the
    index is a mere number, the mean is that of its neighbours, each read by ``at(table, indices)``.
    """
    value, table = call.run(), table if table.is_floating_point() else table.float()
    if call.ledger.choice(index) is None:
        path = _around(call.ledger.twin(index), size, partial(at, table))
    else:
        soft = call.ledger.distribution(index, size)
        if soft is None:
            return value
        path = over(table, soft)
    return call.ledger.attach(value, path.expand(value.shape))


def _around(number: Tensor, size: int, at: Callable[[Tensor], Tensor]) -> Tensor:
    """The mean of the entries around a number's own, by a bell one entry wide."""
    own = number.detach().long().remainder(size)
    places = torch.stack([own + step for step in range(-_NEAR, _NEAR + 1)])
    outside = (places < 0) | (places >= size)
    weights = (-(number - number.detach() + own - places).square() / 2).masked_fill(outside, -torch.inf).softmax(0)
    total: Tensor | int = 0
    for weight, place in zip(weights, places.clamp(0, size - 1), strict=True):
        entry = at(place)
        total = total + weight.view(weight.shape + (1,) * (entry.dim() - weight.dim())) * entry
    return torch.as_tensor(total)


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
    total = soft.sum(dim)
    member = (total - (total - 1).relu()).movedim(-1, dim)
    path = before * (1 - member) + member * float(written[0])
    if call.name == "scatter" or not value.is_floating_point():
        return call.ledger.attach(value, path)
    return value.copy_(call.ledger.attach(value.detach().clone(), path))


@rule("unbind", "split", "chunk")
def cut(call: Call) -> Any:
    """Pieces of chosen indices keep their distributions."""
    soft = call.ledger.choice(call.args[0])
    if soft is None:
        return generic(call)
    values = call.run()
    for value, piece in zip(values, _of_each(call, soft.expand(*call.args[0].shape, -1)), strict=True):
        call.ledger.choose(value, piece)
    return values


def _of_each(call: Call, soft: Any) -> Any:
    """The function, class by class, of the distributions ``soft`` (..., K) of its first argument, or of a list."""
    return torch.vmap(lambda z: call.func(z, *call.args[1:], **call.kwargs), -1, -1)(soft)


@rule(*_SAME, *_SHAPED)
def shaped(call: Call) -> Any:
    """Indices that are moved or reshaped keep their distributions: each class is treated as they are.

    A float that becomes an integer keeps its gradient, straight through.
    """
    first = next(call.tensors(), None)
    listed = call.args and isinstance(call.args[0], list | tuple)
    indices = call.args[0] if listed else (first,)
    members = [call.ledger.choice(each) for each in indices]
    value = call.run()
    if isinstance(first, Tensor) and first.requires_grad and _whole(value):
        return call.ledger.attach(value, first)
    if not isinstance(value, Tensor) or any(soft is None for soft in members) or value.is_floating_point():
        return generic(call)
    pairs = zip(indices, members, strict=True)
    planes = [soft.expand(*each.shape, -1) for each, soft in pairs if soft is not None and each is not None]
    if call.name in _SAME:
        call.ledger.choose(value, next(soft for soft in members if soft is not None))
        return value
    soft = attempt(lambda: _of_each(call, planes if listed else planes[0]), *FOREIGN)
    if soft is not None:
        call.ledger.choose(value, soft)
    return value


def _whole(value: object) -> bool:
    return isinstance(value, Tensor) and not (
        value.is_floating_point() or value.is_complex() or value.dtype == torch.bool
    )
