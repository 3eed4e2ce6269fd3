"""AutoAttack, the standard version: four attacks in a row, each on what the one before left standing.

Croce & Hein 2020, https://arxiv.org/abs/2003.01690. The authors' own code is ``autoattack-reference``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from harness.api.attack import Proposal, Views, attack
from harness.api.threat import Threat
from harness.attacks.search.criterion import Criterion
from harness.attacks.search.searches import Searches
from harness.attacks.search.survivors import Survivors
from harness.compute.modes import evaluating, frozen

_TARGETS = 9
# Several targets are tried at once while there is room: as many images as the batch had, or as have so many values.
_VALUES = 2**18


@attack("autoattack")
@dataclass(frozen=True, kw_only=True)
class AutoAttack:
    """The standard version: APGD-CE, APGD-T, FAB-T and Square, each on what the one before left standing.

    With fewer than ten classes the targeted attacks take all K - 1 targets. The targeted DLR loss needs four classes:
    with three APGD uses the untargeted one instead, with two the cross-entropy alone (there it follows the margin).
    An example is done with the first time that the model gets it wrong inside the ball.
    """

    summary: ClassVar[str] = "AutoAttack standard: APGD-CE, APGD-T, FAB-T, Square"

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, generator: torch.Generator, views: Views
    ) -> Proposal:
        """See :class:`harness.api.attack.Attack`; the parts are AutoAttack's four attacks."""
        survivors = Survivors(x, y)
        for _ in stages(model, survivors, threat, generator):
            pass
        return survivors.proposal()


def stages(model: nn.Module, survivors: Survivors, threat: Threat, generator: torch.Generator) -> Iterator[str]:
    """Run AutoAttack's attacks on the survivors until none is left; yields the name of each attack after it."""
    room = max(len(survivors), _VALUES // survivors.x[0].numel())
    with evaluating(model), frozen(model):
        criterion = Criterion(model, survivors.x)
        for part in _standard(Searches(criterion, threat, generator), criterion.classes):
            if not part.ranks:
                survivors.attack(part.name, part.search)
            ranks = part.ranks
            while ranks and len(survivors):
                count = max(room // len(survivors), 1)
                survivors.attack(part.name, partial(part.search, ranks=ranks[:count]))
                ranks = ranks[count:]
            yield part.name
            if not len(survivors):
                return


class _Part(NamedTuple):
    """One of the four attacks; a targeted one aims at the classes of those ranks."""

    name: str
    search: Callable[..., tuple[Tensor, Tensor]]
    ranks: tuple[int, ...] = ()


def _standard(searches: Searches, classes: int) -> list[_Part]:
    ranks = tuple(range(1, min(_TARGETS, classes - 1) + 1))
    parts = [_Part("apgd-ce", partial(searches.auto_pgd, loss="cross-entropy"))]
    if classes == 3:
        parts.append(_Part("apgd-dlr", partial(searches.auto_pgd, loss="dlr")))
    if classes > 3:
        parts.append(_Part("apgd-t", partial(searches.auto_pgd, loss="targeted dlr"), ranks))
    if ranks:
        parts.append(_Part("fab-t", searches.boundary, ranks))
    return [*parts, _Part("square", searches.random_squares)]
