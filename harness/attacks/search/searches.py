"""The searches that attacks are made of: whose loss each follows, and what counts as success."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from harness.api.threat import Threat
from harness.attacks.losses import cross_entropy, difference, dlr, margin, ranked, targeted_dlr
from harness.attacks.search.apgd import apgd
from harness.attacks.search.criterion import Criterion
from harness.attacks.search.fab import fab
from harness.attacks.search.found import Claim, Confirm
from harness.attacks.search.square import square
from harness.compute.modes import computing_in

Loss = Literal["cross-entropy", "dlr", "targeted dlr"]


def is_aimed(stand_in: nn.Module) -> bool:
    """Whether a stand-in is called with the images and the target classes."""
    return bool(getattr(stand_in, "aimed", False))


@dataclass(frozen=True)
class Searches:
    """Searches under one threat; each takes images (N, C, H, W) that the model gets right and their labels (N,).

    Each returns ``x_adv`` (N, ...) and ``fooled``, bool (N,): what the criterion saw to be wrong, inside the ball.
    ``ranks`` are the classes that a targeted search aims at, all at the same time: the rank-th largest logit, from 1,
    without the label's. An image is done with when one of them has been reached.
    """

    criterion: Criterion
    threat: Threat
    generator: torch.Generator
    steps: int = 100

    def auto_pgd(
        self, x: Tensor, y: Tensor, *, loss: Loss, ranks: Sequence[int] = (), stand_in: nn.Module | None = None
    ) -> tuple[Tensor, Tensor]:
        """Auto-PGD from a random start on a loss of the stand-in, by default of the model itself."""
        followed = self.criterion.model if stand_in is None else stand_in
        aimed = is_aimed(followed)
        tries = self._tries(self.criterion.model if aimed else followed, x, y, ranks)

        def objective(x_adv: Tensor, rows: Tensor) -> tuple[Tensor, Claim]:
            labels, target = tries.y[rows], tries.target[rows]
            logits = followed(x_adv, target) if aimed else followed(x_adv)
            known = logits if followed is self.criterion.model else None
            return _raised(loss, logits, labels, target), self.criterion.claim(x_adv, labels, known)

        found = apgd(
            objective,
            tries.x,
            self.threat,
            start=self.threat.random_start(tries.x, self.generator),
            steps=self.steps,
            group=tries.group,
            confirm=self._confirm(tries.y),
        )
        return tries.best(*found)

    def boundary(self, x: Tensor, y: Tensor, *, ranks: Sequence[int]) -> tuple[Tensor, Tensor]:
        """FAB towards the boundaries with those classes, in float32: it follows the sign of a small difference."""
        tries = self._tries(self.criterion.model, x, y, ranks)

        def towards(x_adv: Tensor, rows: Tensor) -> tuple[Tensor, Claim]:
            logits, labels = self.criterion.model(x_adv), tries.y[rows]
            return difference(logits, labels, tries.target[rows]), self.criterion.claim(x_adv, labels, logits.detach())

        confirm = self._confirm(tries.y)
        with computing_in("float32", x.device):
            return tries.best(*fab(towards, tries.x, self.threat, steps=self.steps, group=tries.group, confirm=confirm))

    def random_squares(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Square on the margin."""

        def margins(x_adv: Tensor, rows: Tensor) -> tuple[Tensor, Claim]:
            with torch.no_grad():
                logits = self.criterion.model(x_adv).float()
            return margin(logits, y[rows]), self.criterion.claim(x_adv, y[rows], logits)

        return square(margins, x, self.threat, generator=self.generator, confirm=self._confirm(y))

    def _confirm(self, y: Tensor) -> Confirm:
        return lambda x_adv, rows: self.criterion.confirms(x_adv, y[rows])

    def _tries(self, model: nn.Module, x: Tensor, y: Tensor, ranks: Sequence[int]) -> "_Tries":
        if not ranks:
            return _Tries(x, y, y, torch.arange(len(x), device=x.device))
        with torch.no_grad(), computing_in("float32", x.device):
            logits = model(x)
        count = len(ranks)
        target = torch.cat([ranked(logits, y, rank) for rank in ranks])
        group = torch.arange(len(x), device=x.device).repeat(count)
        return _Tries(x.repeat(count, 1, 1, 1), y.repeat(count), target, group)


class _Tries(NamedTuple):
    """Each image once for each of its targets; ``group`` says which image it is."""

    x: Tensor
    y: Tensor
    target: Tensor
    group: Tensor

    def best(self, found: Tensor, fooled: Tensor) -> tuple[Tensor, Tensor]:
        """For each image the try that fooled the model, or the first one."""
        images = int(self.group.amax()) + 1
        caught = fooled.view(-1, images)
        chosen = caught.int().argmax(0) * images + self.group[:images]
        return found[chosen], caught.any(0)


def _raised(loss: Loss, logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    logits = logits.float()
    if loss == "cross-entropy":
        return cross_entropy(logits, y)
    if loss == "targeted dlr":
        return targeted_dlr(logits, y, target)
    return (dlr if logits.shape[1] > 2 else margin)(logits, y)
