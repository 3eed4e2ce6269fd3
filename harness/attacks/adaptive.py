"""The attack of someone who knows the defence: Auto-PGD on every stand-in, judged by the real model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from harness.attacks.apgd import Objective, apgd
from harness.attacks.base import Views, attack
from harness.attacks.fields import require_positive
from harness.attacks.losses import cross_entropy, dlr, targeted_dlr
from harness.modes import evaluating, frozen
from harness.threat import Threat

# Logits (M, K) and the positions (M,) of the examples, to their losses (M,).
Loss = Callable[[Tensor, Tensor], Tensor]


@attack("adaptive")
@dataclass(frozen=True, kw_only=True)
class Adaptive:
    """Auto-PGD on the model and on each of its views in turn, each run on what still stands.

    The gradient is a stand-in's; the real model judges every iterate. First the cross-entropy of each stand-in, then
    its logits' differences: for each of the ``targets`` best other classes the targeted DLR loss (with three classes
    the untargeted one; with two the cross-entropy says it all). After Tramer et al. 2020,
    https://arxiv.org/abs/2002.08347, and Croce & Hein 2020, https://arxiv.org/abs/2003.01690.
    """

    summary: ClassVar[str] = "Auto-PGD on the model and on every differentiable view of it"

    steps: int = 100
    targets: int = 3

    def __post_init__(self) -> None:
        require_positive("adaptive", steps=self.steps, targets=self.targets)

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, generator: torch.Generator, views: Views
    ) -> Tensor:
        """See :class:`harness.attacks.base.Attack`."""
        stand_ins = (model, *views.values())
        x_adv, left = x.clone(), torch.arange(len(x), device=x.device)
        with evaluating(*stand_ins), frozen(*stand_ins):
            for rank in range(self.targets + 1):
                for stand_in in stand_ins:
                    if not len(left):
                        return x_adv
                    images, labels = x[left], y[left]
                    loss = _loss(stand_in, images, labels, rank)
                    if loss is None:
                        continue
                    start = threat.random_start(images, generator)
                    objective = _objective(model, stand_in, loss, labels)
                    x_adv[left], fooled = apgd(objective, images, threat, start=start, steps=self.steps)
                    left = left[~fooled]
        return x_adv


def _loss(stand_in: nn.Module, x: Tensor, y: Tensor, rank: int) -> Loss | None:
    """Rank 0 is the cross-entropy, rank r the DLR loss towards the r-th best other class; None if there is none."""
    if rank == 0:
        return lambda logits, rows: cross_entropy(logits, y[rows])
    with torch.no_grad():
        logits = stand_in(x)
    classes = logits.shape[1]
    if classes == 3 and rank == 1:
        return lambda logits, rows: dlr(logits, y[rows])
    if classes < 4 or rank >= classes:
        return None
    others = logits.scatter(1, y[:, None], float("-inf"))
    target = others.argsort(1, descending=True)[:, rank - 1]
    return lambda logits, rows: targeted_dlr(logits, y[rows], target[rows])


def _objective(model: nn.Module, stand_in: nn.Module, loss: Loss, y: Tensor) -> Objective:
    def objective(x_adv: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        logits = stand_in(x_adv)
        with torch.no_grad():
            judged = logits if stand_in is model else model(x_adv)
        return loss(logits, rows), judged.argmax(1) != y[rows]

    return objective
