"""The attack of someone who knows the defence: Auto-PGD on every stand-in, judged by the real model."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from harness.api.attack import Proposal, Views, attack
from harness.api.threat import Threat
from harness.attacks.fields import require_positive
from harness.attacks.search.criterion import Criterion
from harness.attacks.search.searches import Loss, Searches, is_aimed
from harness.attacks.search.survivors import Survivors
from harness.compute.modes import evaluating, frozen

# Views of this name are other models, of related methods: what fools them is tried on the model under attack.
TRANSFER = "transfer:"
# A short run, which shows whether a stand-in is of any use, has this share of the steps.
_SHORT = 1 / 4
# So many runs in a row that break nothing end a loss.
_PATIENCE = 2


@attack("adaptive")
@dataclass(frozen=True, kw_only=True)
class Adaptive:
    """Auto-PGD on the model and on each of its views, each run on what still stands.

    The gradient is a stand-in's; the real model judges every iterate. Where there are views, short runs come first, of
    a quarter of the steps: on every stand-in the cross-entropy, the untargeted difference of logits (DLR; the margin
    where there are but two classes), and the targeted DLR towards the best other class. Then the model and the
    stand-ins that have broken something are followed at full length: the three losses, and the targeted one towards
    the next classes up to ``targets``, each on one stand-in after another from the one that broke most so far, until
    two in a row break nothing. A stand-in with an attribute ``aimed`` is called with the images and the target classes,
    and serves the targeted losses alone. Models of related methods come last, with the untargeted losses. A model whose
    forward pass is random counts as fooled when it is wrong five times in a row. After Tramer et al. 2020,
    https://arxiv.org/abs/2002.08347, and Croce & Hein 2020, https://arxiv.org/abs/2003.01690.
    """

    summary: ClassVar[str] = "Auto-PGD on the model and on every differentiable view of it"
    uses_views: ClassVar[bool] = True

    steps: int = 100
    targets: int = 3

    def __post_init__(self) -> None:
        require_positive("adaptive", steps=self.steps, targets=self.targets)

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, generator: torch.Generator, views: Views
    ) -> Proposal:
        """See :class:`harness.api.attack.Attack`; a part is a loss on a view."""
        stand_ins = {"model": model, **views}
        with evaluating(*stand_ins.values()), frozen(*stand_ins.values()):
            runs = _Runs(Searches(Criterion(model, x), threat, generator, self.steps), stand_ins, Survivors(x, y))
            self._attack(runs)
        return runs.survivors.proposal()

    def _attack(self, runs: "_Runs") -> None:
        own = [name for name in runs.stand_ins if not name.startswith(TRANSFER)]
        others = [name for name in runs.stand_ins if name not in own]
        if len(own) > 1:
            for loss, rank in _losses(targets=1):
                for name in own:
                    runs.run(loss, rank, name, steps=max(round(_SHORT * self.steps), 1))
        chosen = [name for name in own if name == "model" or runs.broken[name]]
        for loss, rank in _losses(self.targets):
            runs.follow(loss, rank, chosen)
        for loss, rank in _losses(targets=0):
            runs.follow(loss, rank, others)


def _losses(targets: int) -> Iterator[tuple[Loss, int]]:
    """In the order in which they pay; a targeted loss with the rank of its target, the others with 0."""
    yield from (("cross-entropy", 0), ("dlr", 0))
    yield from (("targeted dlr", rank) for rank in range(1, targets + 1))


@dataclass
class _Runs:
    """Runs of Auto-PGD on the examples that still stand; ``broken`` counts those that fell by each stand-in."""

    searches: Searches
    stand_ins: Views
    survivors: Survivors
    broken: Counter[str] = field(default_factory=Counter)

    def run(self, loss: Loss, rank: int, name: str, steps: int) -> bool:
        """One run, unless the loss needs other classes than there are, or a target that there is not; if any fell."""
        stand_in = self.stand_ins[name]
        if (rank and not 4 <= self.searches.criterion.classes > rank) or (is_aimed(stand_in) and not rank):
            return False
        search = partial(
            replace(self.searches, steps=steps).auto_pgd, loss=loss, ranks=(rank,) if rank else (), stand_in=stand_in
        )
        before = len(self.survivors)
        fell = self.survivors.attack(f"{loss} on {name}", search)
        self.broken[name] += before - len(self.survivors)
        return fell

    def follow(self, loss: Loss, rank: int, names: Iterable[str]) -> None:
        """Runs of full length from the stand-in that broke most so far on, until two in a row break nothing."""
        idle = 0
        for name in sorted(names, key=lambda name: -self.broken[name]):
            idle = 0 if self.run(loss, rank, name, self.searches.steps) else idle + 1
            if idle == _PATIENCE:
                return
