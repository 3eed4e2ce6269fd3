"""Gradients for values that have none: grafts for floats, twins for integers and booleans, choices for indices."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

# The most numbers an image that are spent on what is sorted or labelled; by image, so that all batches are alike.
_WIDEST = 1 << 18


class _Graft(Function):
    """The value of one tensor with the gradient of another."""

    apply = vars(Function)["apply"]  # its own, so that it stays what it is while ``Function.apply`` is exchanged

    @staticmethod
    def forward(ctx: Any, value: Tensor, path: Tensor) -> Tensor:
        ctx.dtype = path.dtype
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, gradients[0].to(ctx.dtype)


def graft(value: Tensor, path: Tensor) -> Tensor:
    """``value`` (any shape, floating) bit for bit, whose gradient is that of ``path`` (a shape that broadcasts).

    The straight-through estimator of Bengio et al. 2013, https://arxiv.org/abs/1308.3432.
    """
    if not path.requires_grad:
        return value
    result: Tensor = _Graft.apply(value.detach(), path.expand(value.shape))
    return result


class Ledger:
    """What stands in for the integer and boolean tensors of one forward pass.

    A *twin* is a floating tensor with the same values and a surrogate's gradient. A *choice* belongs to a tensor of
    indices: the soft distribution (..., K) over the K classes that it was chosen from. Tensors are told apart by
    identity and kept alive until the pass ends, so that no identity is used twice. ``images`` is their number.
    """

    def __init__(self, images: int) -> None:
        self._images = images
        self._held: list[Tensor] = []
        self._twins: dict[int, Tensor] = {}
        self._choices: dict[int, Tensor | Callable[[], Tensor]] = {}

    def knows(self, value: object) -> bool:
        """Whether the tensor has a twin or a choice."""
        return id(value) in self._twins or id(value) in self._choices

    def affords(self, numbers: int) -> bool:
        """Whether a tensor of so many numbers may be made for the sake of a gradient."""
        return numbers <= self._images * _WIDEST

    def attach(self, value: Tensor, path: Tensor) -> Tensor:
        """``value`` with the gradient of ``path``: grafted if it is floating, else remembered with a twin."""
        if value.is_floating_point():
            return graft(value, path)
        if path.requires_grad and not value.is_complex():
            self._held.append(value)
            self._twins[id(value)] = graft(value.to(path.dtype), path)
        return value

    def choose(self, index: Tensor, soft: Tensor | Callable[[], Tensor]) -> None:
        """Remember that ``index`` (...) was chosen with the distribution ``soft`` (..., K), made once it is needed."""
        self._held.append(index)
        self._choices[id(index)] = soft

    def choice(self, value: object) -> Tensor | None:
        """The distribution that the index was chosen with, if any."""
        soft = self._choices.get(id(value))
        if soft is None or isinstance(soft, Tensor):
            return soft
        made = self._choices[id(value)] = soft()
        return made

    def twin(self, value: Any) -> Any:
        """The floating stand-in of a remembered tensor (of an index: its expectation), or the value itself."""
        if id(value) in self._twins:
            return self._twins[id(value)]
        soft = self.choice(value)
        if soft is None:
            return value
        classes = torch.arange(soft.shape[-1], device=soft.device, dtype=soft.dtype)
        return graft(value.to(soft.dtype), (soft * classes).sum(-1))

    def distribution(self, index: Tensor, classes: int) -> Tensor | None:
        """The distribution (..., classes) of a remembered index; a mere number becomes a bell around its value."""
        soft = self.choice(index)
        if soft is not None:
            missing = classes - soft.shape[-1]
            return F.pad(soft, (0, missing)) if missing >= 0 else None
        twin = self._twins.get(id(index))
        if twin is None:
            return None
        offset = twin[..., None] - torch.arange(classes, device=twin.device, dtype=twin.dtype)
        return (-offset.square() / 2).softmax(-1)
