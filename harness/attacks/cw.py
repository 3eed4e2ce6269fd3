"""Projected gradient descent on the Carlini-Wagner margin."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from harness.api.attack import Views, attack
from harness.api.threat import Threat
from harness.attacks.fields import require_positive
from harness.attacks.losses import margin
from harness.attacks.pgd import projected_ascent


@attack("cw")
@dataclass(frozen=True, kw_only=True)
class CW:
    """Steepest ascent on ``max_{j != y} z_j - z_y`` from a uniformly random point of the ball.

    The margin is Carlini & Wagner's (2017, https://arxiv.org/abs/1608.04644), the optimiser Madry et al.'s (2018,
    https://arxiv.org/abs/1706.06083), as adversarial-training papers report it. An example is done
    with at the first iterate that the model gets wrong. ``step_size`` is in units of the image and is eps / 4 if left
    out.
    """

    summary: ClassVar[str] = "projected gradient descent on the Carlini-Wagner margin"

    steps: int = 30
    step_size: float | None = None
    random_start: bool = True

    def __post_init__(self) -> None:
        require_positive("cw", steps=self.steps, step_size=self.step_size)

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, generator: torch.Generator, views: Views
    ) -> Tensor:
        """See :class:`harness.api.attack.Attack`."""
        start = threat.random_start(x, generator) if self.random_start else x
        x_adv, _ = projected_ascent(
            model, x, y, threat, margin, start=start, steps=self.steps, step_size=self.step_size
        )
        return x_adv
