"""Gradients with respect to images, where autograd gives one and where it does not."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.compute.memory import attempt


def input_gradient(loss: Tensor, x: Tensor) -> Tensor:
    """The gradient of the scalar ``loss`` with respect to ``x``, of the shape of ``x``, made :func:`finite`.

    Zero where the loss does not depend on ``x`` by differentiable operations: the diagnostics say what such a gradient
    is worth.
    """
    gradient = torch.autograd.grad(loss, x, allow_unused=True)[0] if loss.requires_grad else None
    return torch.zeros_like(x) if gradient is None else finite(gradient)


def finite(gradient: Tensor) -> Tensor:
    """The gradient with zeros for what is no finite number: there is one convention for that, and this is it."""
    return gradient.nan_to_num(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Look:
    """What one forward and backward pass shows of N images.

    ``logits`` (N, K), the ``values`` (N,) that were read from them and differentiated, the ``gradient`` (N, C, H, W)
    made :func:`finite`, ``alive`` bool (N,), where it was all finite numbers and not all zero, and whether autograd
    ``reached`` the images at all.
    """

    logits: Tensor
    values: Tensor
    gradient: Tensor
    alive: Tensor
    reached: bool

    @classmethod
    def of(cls, logits: Tensor, images: Tensor, read: Callable[[Tensor], Tensor], *, keep: bool = False) -> "Look":
        """Differentiate ``read(logits)`` (N,) by the images; ``keep`` the graph for another look.

        An operation without a derivative counts as no gradient.
        """
        with torch.enable_grad():
            values = read(logits)
            gradient = attempt(lambda: _gradient(values, images, keep), RuntimeError) if values.requires_grad else None
        raw = torch.zeros_like(images) if gradient is None else gradient.detach()
        flat = raw.flatten(1)
        alive = flat.isfinite().all(1) & (flat != 0).any(1)
        return cls(logits.detach().float(), values.detach(), finite(raw), alive, gradient is not None)

    @classmethod
    def joined(cls, looks: Iterable["Look"]) -> "Look":
        """Of the parts of a batch, the whole."""
        logits, values, gradient, alive, reached = zip(*(vars(each).values() for each in looks), strict=True)
        return cls(torch.cat(logits), torch.cat(values), torch.cat(gradient), torch.cat(alive), all(reached))


def _gradient(values: Tensor, images: Tensor, keep: bool) -> Tensor | None:
    gradient: Tensor | None = torch.autograd.grad(values.sum(), images, allow_unused=True, retain_graph=keep)[0]
    return gradient


def look(model: nn.Module, x: Tensor, read: Callable[[Tensor], Tensor]) -> Look:
    """Differentiate ``read(model(x))`` (N,) by the images ``x`` (N, C, H, W)."""
    images = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        return Look.of(model(images), images, read)
