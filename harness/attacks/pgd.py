"""Projected gradient descent with restarts, on any per-example loss."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from harness.attacks.base import Views, ascend, attack
from harness.attacks.fields import require_positive
from harness.attacks.losses import cross_entropy
from harness.errors import HarnessError
from harness.modes import evaluating
from harness.threat import Threat

Loss = Callable[[Tensor, Tensor], Tensor]


@attack("pgd")
@dataclass(frozen=True, kw_only=True)
class PGD:
    """Steepest ascent on the cross-entropy from a uniformly random point of the ball.

    Madry et al. 2018, https://arxiv.org/abs/1706.06083, section 2.1. ``step_size`` is in units of the image and is
    eps / 4 if left out. An example that a restart fools is not attacked again; the others keep the last restart.
    """

    summary: ClassVar[str] = "projected gradient descent on the cross-entropy"

    steps: int = 20
    restarts: int = 1
    step_size: float | None = None
    random_start: bool = True

    def __post_init__(self) -> None:
        require_positive("pgd", steps=self.steps, restarts=self.restarts, step_size=self.step_size)
        if self.restarts > 1 and not self.random_start:
            raise HarnessError(f"pgd: restarts={self.restarts} needs random_start: all would be the same")

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, generator: torch.Generator, views: Views
    ) -> Tensor:
        """See :class:`harness.attacks.base.Attack`."""
        x_adv, left = x.clone(), torch.arange(len(x), device=x.device)
        for _ in range(self.restarts):
            if not len(left):
                break
            images, labels = x[left], y[left]
            start = threat.random_start(images, generator) if self.random_start else images
            x_adv[left] = climb(
                model, images, labels, threat, cross_entropy, start=start, steps=self.steps, step_size=self.step_size
            )
            with evaluating(model), torch.no_grad():
                left = left[model(x_adv[left]).argmax(1) == labels]
        return x_adv


def climb(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    loss: Loss,
    *,
    start: Tensor,
    steps: int,
    step_size: float | None,
) -> Tensor:
    """:func:`~harness.attacks.base.ascend` on ``loss(logits, y)`` (N,), with steps of eps / 4 unless told otherwise."""

    def objective(x_adv: Tensor) -> Tensor:
        return loss(model(x_adv), y).sum()

    return ascend(model, x, objective, threat, start=start, steps=steps, step_size=step_size or threat.eps / 4)
