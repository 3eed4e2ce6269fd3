"""Rules for what chooses an index: argmax and its relatives, the k largest, sorting; and the larger of two."""

from typing import Any

from torch import Tensor

from harness.views.trace.bounds import bounded
from harness.views.trace.calls import Call, generic, rule
from harness.views.trace.steps import scale_of


def softened(z: Tensor, dim: int) -> Tensor:
    """A softmax along ``dim``, two standard deviations to the unit, with that dimension moved to the end."""
    z = _bounded(z.movedim(dim, -1).float())
    return (z / _width(z)).softmax(-1)


def _bounded(z: Tensor) -> Tensor:
    """Infinite scores, which rule a class out, as the most extreme finite ones."""
    finite = z.detach().isfinite()
    if bool(finite.all()) or not bool(finite.any()):
        return z
    known = z.detach()[finite]
    return z.nan_to_num(0.0, float(known.max()), float(known.min()))


def _width(z: Tensor) -> Tensor:
    """Half the mean standard deviation along the last dimension: a constant, never zero."""
    return (z.detach().std(-1, correction=0).mean() / 2).clamp(min=1e-12)


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
    """The values have their gradient, the indices beside them are a choice by softmax; of two tensors: a bound."""
    if isinstance(call.given(1, "other"), Tensor):
        return bounded(call)
    result, z = generic(call), call.operand(0, "input")
    dim = call.operand(1, "dim")
    if not isinstance(result, Tensor) and isinstance(dim, int) and isinstance(z, Tensor) and z.is_floating_point():
        soft = softened(z if call.name == "max" else -z, dim)
        keep = result[1].dim() == z.dim()
        call.ledger.choose(result[1], soft.unsqueeze(dim if dim >= 0 else dim - 1) if keep else soft)
    return result


@rule("topk")
def winners(call: Call) -> Any:
    """The k largest or smallest: each of their indices stands for all, a soft membership about the k-th value."""
    result, z = generic(call), call.operand(0, "input")
    dim = call.operand(2, "dim", -1)
    if isinstance(result, Tensor) or not z.is_floating_point():
        return result
    sign = 1 if call.operand(3, "largest", True) else -1
    if result[1].shape[dim] == 1:
        call.ledger.choose(result[1], softened(sign * z, dim).unsqueeze(dim if dim >= 0 else dim - 1))
    elif dim in (-1, z.dim() - 1):
        excess = sign * z - (sign * result[0]).amin(dim, keepdim=True)
        call.ledger.choose(result[1], (excess / scale_of(excess)).sigmoid().unsqueeze(-2))
    return result


@rule("sort", "argsort", "kthvalue")
def ranked(call: Call) -> Any:
    """The index at a rank is a choice by how near each value lies to that rank's; https://arxiv.org/abs/2006.16038."""
    z, dim = call.operand(0, "input"), call.operand(2 if call.name == "kthvalue" else 1, "dim", -1)
    result = call.run() if call.name == "argsort" else generic(call)
    index = result if call.name == "argsort" else result[1]
    if not z.is_floating_point() or not call.ledger.affords(index.numel() * z.shape[dim]):
        return result

    def soft() -> Tensor:
        whole, scores = index.dim() == z.dim(), _bounded(z.float())
        values = scores.gather(dim, index if whole else index.unsqueeze(dim)).movedim(dim, -1)
        others = scores.movedim(dim, -1)
        near = (-(values[..., None] - others[..., None, :]).abs() / _width(others)).softmax(-1)
        return near.movedim(-2, dim if dim >= 0 else dim - 1) if whole else near.squeeze(-2)

    call.ledger.choose(index, soft)
    return result
