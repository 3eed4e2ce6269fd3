"""The attack of someone who knows the defence: Auto-PGD on every stand-in, judged by the real model."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

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


class _Run(NamedTuple):
    """One run of Auto-PGD: which loss of which stand-in; ``rank`` counts the targets, 0 for untargeted losses."""

    loss: Loss
    view: str
    rank: int = 0

    @property
    def part(self) -> str:
        return f"{self.loss} on {self.view}"


@attack("adaptive")
@dataclass(frozen=True, kw_only=True)
class Adaptive:
    """Auto-PGD on the model and on each of its views in turn, each run on what still stands.

    The gradient is a stand-in's; the real model judges every iterate. For each stand-in first the cross-entropy, then
    the untargeted difference of logits (DLR; the margin where there are but two classes), then the targeted DLR
    towards the best other class, and towards the next up to ``targets`` with the model and the stand-ins that have
    broken something. A stand-in with an attribute ``aimed`` is called with the images and the target classes, and
    serves the targeted losses alone. Models of related methods come last, with the untargeted losses. A model whose
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
        survivors, useful = Survivors(x, y), {"model"}
        with evaluating(*stand_ins.values()), frozen(*stand_ins.values()):
            criterion = Criterion(model, x)
            auto_pgd = Searches(criterion, threat, generator, self.steps).auto_pgd
            for run in self._runs(stand_ins):
                if not len(survivors):
                    break
                if (run.rank and not 4 <= criterion.classes > run.rank) or (run.rank > 1 and run.view not in useful):
                    continue
                ranks = (run.rank,) if run.rank else ()
                search = partial(auto_pgd, loss=run.loss, ranks=ranks, stand_in=stand_ins[run.view])
                if survivors.attack(run.part, search):
                    useful.add(run.view)
        return survivors.proposal()

    def _runs(self, stand_ins: Views) -> Iterator[_Run]:
        """In the order in which they cost: what fools many first, other models after all of the model's own."""
        own = [name for name in stand_ins if not name.startswith(TRANSFER)]
        untargeted = [name for name in own if not is_aimed(stand_ins[name])]
        yield from (_Run("cross-entropy", name) for name in untargeted)
        yield from (_Run("dlr", name) for name in untargeted)
        yield from (_Run("targeted dlr", name, rank) for rank in range(1, self.targets + 1) for name in own)
        others = [name for name in stand_ins if name not in own]
        yield from (_Run("cross-entropy", name) for name in others)
        yield from (_Run("dlr", name) for name in others)
