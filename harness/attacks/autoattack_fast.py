"""AutoAttack's verdict at a fraction of its passes, with a bound on what was left out.

On a robust model AutoAttack spends nearly everything on examples that stand with ease. Here a cascade comes first, then
the whole of AutoAttack on the survivors that came nearest to an error and on a random sample of the others.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from harness.api.attack import Proposal, Round, Spared, Survey, Views, attack, everything
from harness.api.threat import Threat
from harness.attacks.autoattack import AutoAttack
from harness.attacks.fields import require_positive
from harness.attacks.search.cascade import Cascade
from results.audit import most_missed

_NEARER = 0.15
_AUDIT = 2
_WHOLE, _SAMPLE = 2, 3  # the first round that is all of AutoAttack, and the one whose examples are a random sample


@attack("autoattack-fast")
@dataclass(frozen=True, kw_only=True)
class AutoAttackFast:
    """A cascade, all of AutoAttack on survivors of low margin and on a random sample of the rest; a bound on the rest.

    1. Auto-PGD, 20 steps on the cross-entropy, then 30 and 20 towards the two nearest classes.
    2. On the 15 % of the survivors with the least margin, 60 steps towards each of the three nearest.
    3. AutoAttack on the share ``nearest`` with the least margin: nearly all that it can still break lies there.
    4. AutoAttack on ``audit`` random ones of the rest: by default twice the square root of their number, which
       bounds what may be missed about as tightly as that many test examples bound the accuracy itself.
    5. If any of these falls, AutoAttack on all that is left: what a masked model comes to.

    Margins are compared within one model only, so that the scale of its logits does not matter.
    """

    summary: ClassVar[str] = "AutoAttack where it is needed, with a 95 % bound on what it would break elsewhere"

    nearest: float = 0.04
    audit: int | None = None

    def __post_init__(self) -> None:
        require_positive("autoattack-fast", nearest=self.nearest, audit=self.audit)

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, generator: torch.Generator, views: Views
    ) -> Proposal:
        """All of AutoAttack: a batch alone does not say whom to spare, as :attr:`rounds` over the whole set do."""
        return AutoAttack()(model, x, y, threat, generator=generator, views=views)

    @property
    def rounds(self) -> tuple[Round, ...]:
        """See :class:`harness.api.attack.InRounds`."""
        return (
            Round("cascade", Cascade(20, (30, 20)), everything),
            Round("nearer", Cascade(0, (60, 60, 60)), partial(_nearest, share=_NEARER)),
            Round("nearest", AutoAttack(), partial(_nearest, share=self.nearest)),
            Round("audit", AutoAttack(), self._sample),
            Round("rest", AutoAttack(), _rest),
        )

    def spared(self, survey: Survey) -> Spared:
        """See :class:`harness.api.attack.InRounds`; exact for a sample without replacement."""
        left, audited = _left(survey), int((survey.round == _SAMPLE).sum())
        return Spared(left, most_missed(len(left) + audited, audited))

    def _sample(self, survey: Survey, generator: torch.Generator) -> Tensor:
        left = _left(survey)
        count = math.ceil(_AUDIT * math.sqrt(len(left))) if self.audit is None else self.audit
        return left[torch.randperm(len(left), generator=generator)[:count]]


def _nearest(survey: Survey, _: torch.Generator, *, share: float) -> Tensor:
    """That share of the standing examples, those of the least margin."""
    standing = survey.standing.nonzero().flatten()
    order = survey.margin[standing].argsort(stable=True)
    return standing[order[: math.ceil(share * len(standing))]].sort().values


def _rest(survey: Survey, _: torch.Generator) -> Tensor:
    """All that have not had AutoAttack, if any of the sample fell."""
    fell = (survey.round == _SAMPLE) & ~survey.standing
    return _left(survey) if bool(fell.any()) else survey.round.new_zeros(0)


def _left(survey: Survey) -> Tensor:
    """The standing examples that have not had AutoAttack."""
    return (survey.standing & (survey.round < _WHOLE)).nonzero().flatten()
