"""The attack contract, and the one ascent loop that every gradient attack and training objective shares."""

from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from harness.modes import evaluating, frozen
from harness.registry import attacks
from harness.threat import Threat

attack = attacks.add
Views = Mapping[str, nn.Module]


class Proposal(NamedTuple):
    """Adversarial examples ``x_adv`` (N, C, H, W), and which part of the attack claims to have fooled the model.

    ``part`` (N,) is a position in ``parts``, the names of the parts in the order in which they ran; -1 where none
    claims anything.
    """

    x_adv: Tensor
    part: Tensor
    parts: tuple[str, ...]

    @classmethod
    def of(cls, found: "Tensor | Proposal") -> "Proposal":
        """What an attack returned; from images alone, a proposal in which nobody claims anything."""
        if isinstance(found, Proposal):
            return found
        return cls(found, torch.full((len(found),), -1, device=found.device), ())


class Attack(Protocol):
    """A frozen dataclass whose fields are the attack's parameters; calling it attacks a batch.

    An attack that sets ``uses_views = True`` on its class finds in ``views`` the model's stand-ins and models of
    related methods trained in the same run; for the others it is empty.
    """

    summary: ClassVar[str]

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, generator: torch.Generator, views: Views
    ) -> Tensor | Proposal:
        """Adversarial examples (N, C, H, W) for images ``x`` in [0, 1] with labels ``y`` (N,).

        ``generator`` lives on the images' device. ``views`` are differentiable stand-ins for the model, which only
        adaptive attacks use. What comes back is a proposal: :func:`harness.verification.still_correct` judges it.
        """
        ...


def ascend(
    model: nn.Module,
    x: Tensor,
    objective: Callable[[Tensor], Tensor],
    threat: Threat,
    *,
    start: Tensor,
    steps: int,
    step_size: float | None = None,
) -> Tensor:
    """Raise ``objective(x_adv)`` (a scalar) by projected steepest ascent from ``start``; the last iterate.

    The objective closes over ``model``, which is put in evaluation mode and frozen meanwhile. ``step_size`` is in
    units of the image (default: the threat's). Madry et al. 2018, https://arxiv.org/abs/1706.06083, section 2.1.
    """
    size = threat.step_size if step_size is None else step_size
    x_adv = threat.project(start, x).detach()
    with evaluating(model), frozen(model), torch.enable_grad():
        for _ in range(steps):
            x_adv.requires_grad_()
            gradient = input_gradient(objective(x_adv), x_adv)
            x_adv = threat.step(x_adv.detach(), gradient, x, size)
    return x_adv.detach()


def input_gradient(loss: Tensor, x: Tensor) -> Tensor:
    """The gradient of the scalar ``loss`` with respect to ``x``, of the shape of ``x``.

    Zero where the loss does not depend on ``x`` by differentiable operations, and where it is not a number: the
    diagnostics say what such a gradient is worth.
    """
    gradient = torch.autograd.grad(loss, x, allow_unused=True)[0] if loss.requires_grad else None
    return torch.zeros_like(x) if gradient is None else gradient.nan_to_num(0.0)
