"""A short search that breaks nearly all that can be broken, and shows how near the others came."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from harness.api.attack import Proposal, Views
from harness.api.threat import Threat
from harness.attacks.losses import cross_entropy, difference, margin, targeted_dlr
from harness.attacks.search.apgd import apgd
from harness.attacks.search.criterion import Criterion
from harness.attacks.search.found import Claim
from harness.attacks.search.survivors import Survivors
from harness.compute.gradients import Look
from harness.compute.modes import evaluating, frozen

_CANDIDATES = 9
_TINY = 1e-12


@dataclass(frozen=True)
class Cascade:
    """Auto-PGD on the cross-entropy, then towards the nearest class, then the next, each on what still stands.

    ``untargeted`` are the steps of the first search (0: none), ``targeted`` those towards each class.
    """

    untargeted: int
    targeted: tuple[int, ...]

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, generator: torch.Generator, views: Views
    ) -> Proposal:
        """See :class:`harness.api.attack.Attack`; the proposal has margins."""
        survivors = Survivors(x, y)
        with evaluating(model), frozen(model):
            search = _Search(Criterion(model, x), survivors, threat, generator)
            if self.untargeted:
                survivors.attack("apgd-ce", partial(search.ascend, cross_entropy, self.untargeted))
            if len(survivors):
                targets = search.targets(len(self.targeted))
                for steps, target in zip(self.targeted, targets.unbind(1), strict=False):  # few classes: fewer targets
                    survivors.attack("apgd-t", partial(search.ascend, _towards, steps, target=target))
        return survivors.proposal()._replace(margin=search.margin)


def nearest(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, count: int) -> Tensor:
    """The ``count`` wrong classes (N, count) whose boundaries are nearest to images ``x``, the nearest first.

    Near by the linear approximation: the gap of the logits over the dual norm of its gradient, among the classes of the
    nine highest logits. Melamed et al. 2024 (MALT), https://arxiv.org/abs/2407.02240.
    """
    images = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        logits = model(images).float()
    others = logits.detach().scatter(1, y[:, None], float("-inf"))
    candidates = others.topk(min(_CANDIDATES, logits.shape[1] - 1), 1).indices
    distances = []
    for target in candidates.unbind(1):
        seen = Look.of(logits, images, partial(difference, y=y, target=target), keep=True)
        distances.append(-seen.values / (threat.dual_norm(seen.gradient) + _TINY))
    order = torch.stack(distances, 1).argsort(1)
    chosen: Tensor = candidates.gather(1, order[:, :count])
    return chosen


class _Search:
    """Searches among the survivors that remember the least margin (N,) any iterate of each example came to."""

    def __init__(self, criterion: Criterion, survivors: Survivors, threat: Threat, generator: torch.Generator) -> None:
        self.criterion, self.survivors, self.threat, self.generator = criterion, survivors, threat, generator
        self.margin = torch.full((len(survivors.x),), torch.inf, device=survivors.x.device)

    def targets(self, count: int) -> Tensor:
        """The nearest classes (N, count) of the survivors, at their places among all N."""
        x, y, left = self.survivors.x, self.survivors.y, self.survivors.left
        found = nearest(self.criterion.model, x[left], y[left], self.threat, count)
        return found.new_zeros(len(x), found.shape[1]).index_copy(0, left, found)

    def ascend(
        self, loss: Callable[..., Tensor], steps: int, x: Tensor, y: Tensor, target: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Auto-PGD from a random start on ``loss`` of logits, labels and, if there is any, the ``target`` (N,)."""
        left = self.survivors.left

        def objective(x_adv: Tensor, rows: Tensor) -> tuple[Tensor, Claim]:
            logits, labels, places = self.criterion.model(x_adv), y[rows], left[rows]
            distance = -margin(logits.detach().float(), labels)
            self.margin[places] = torch.fmin(self.margin[places], distance)  # a NaN is no margin
            aims = () if target is None else (target[places],)
            return loss(logits.float(), labels, *aims), self.criterion.claim(x_adv, labels, logits)

        def confirm(x_adv: Tensor, rows: Tensor) -> Tensor:
            return self.criterion.confirms(x_adv, y[rows])

        start = self.threat.random_start(x, self.generator)
        return apgd(objective, x, self.threat, start=start, steps=steps, confirm=confirm)


def _towards(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """The targeted DLR loss; with fewer classes than it needs, the difference of the two logits."""
    return (targeted_dlr if logits.shape[1] > 3 else difference)(logits, y, target)
