"""Projected gradient descent with restarts, on any per-example loss."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from harness.api.attack import Views, attack
from harness.api.errors import HarnessError
from harness.api.threat import Threat
from harness.attacks.fields import require_positive
from harness.attacks.losses import cross_entropy
from harness.attacks.search.criterion import Criterion
from harness.attacks.search.found import Found
from harness.attacks.search.survivors import Survivors
from harness.compute.gradients import input_gradient
from harness.compute.modes import ending_exactly, evaluating, frozen

Loss = Callable[[Tensor, Tensor], Tensor]


@attack("pgd")
@dataclass(frozen=True, kw_only=True)
class PGD:
    """Steepest ascent on the cross-entropy from a uniformly random point of the ball.

    Madry et al. 2018, https://arxiv.org/abs/1706.06083, section 2.1. ``step_size`` is in units of the image and is
    eps / 4 if left out. An example is done with at the first iterate that the model gets wrong; the others keep the
    last iterate of the last restart.
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
        """See :class:`harness.api.attack.Attack`."""
        survivors = Survivors(x, y)

        def search(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            start = threat.random_start(x, generator) if self.random_start else x
            return projected_ascent(
                model, x, y, threat, cross_entropy, start=start, steps=self.steps, step_size=self.step_size
            )

        for _ in range(self.restarts):
            survivors.attack("", search)
        return survivors.x_adv


def projected_ascent(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    loss: Loss,
    *,
    start: Tensor,
    steps: int,
    step_size: float | None,
) -> tuple[Tensor, Tensor]:
    """Projected steepest ascent on ``loss(logits, y)`` (N,), with steps of eps / 4 unless told otherwise.

    In low precision the last tenth of the steps is done in float32.

    Returns:
        ``x_adv`` (N, ...), the first iterate that fools the model or the last one, and ``fooled``, bool (N,).
    """
    size = step_size or threat.eps / 4
    x_adv = threat.project(start, x).detach()
    with evaluating(model), frozen(model), ending_exactly(steps, x.device) as at_step:
        criterion = Criterion(model, x)
        found = Found(x_adv, lambda images, rows: criterion.confirms(images, y[rows]))
        rows = found.everyone
        for k in range(steps + 1):
            at_step(k)
            images = x_adv.requires_grad_(k < steps)
            with torch.set_grad_enabled(k < steps):
                logits = model(images)
                climbed = loss(logits, y[rows]).sum()
            x_adv = images.detach()
            found.note(rows, x_adv, criterion.claim(x_adv, y[rows], logits))
            if k < steps:
                x_adv = threat.step(x_adv, input_gradient(climbed, images), x[rows], size)
            if found.due:
                standing = found.standing(rows)
                rows, x_adv = rows[standing], x_adv[standing]
            if not len(rows):
                break
        found.leave(rows, x_adv)
    return found.x_adv, found.fooled
