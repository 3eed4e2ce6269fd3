"""What attacks left standing of one model, and what the numbers are that come of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from harness.api.attack import Proposal
from results.audit import Audit, worst_case_may_fall
from results.names import AUTOATTACK, WORST_CASE


@dataclass
class Judgement:
    """What one attack left standing: ``verdicts`` bool (N,), True where the model is still right.

    ``broken_by`` maps each part of the attack, in the order in which they ran, to the positions of the examples that
    it broke; ``lost`` counts the successes an attack claimed that the model, asked again in float32, did not confirm.
    ``forwards`` are the images sent through the model, ``bfloat16_forwards`` those of them in bfloat16, ``backwards``
    those whose gradient was sent back. ``spared`` are the positions of standing examples that had only a part of the
    attack; of them at most ``may_fall`` would fall to the whole of it, with 95 % confidence.
    """

    verdicts: Tensor
    broken_by: dict[str, list[int]] = field(default_factory=dict)
    lost: int = 0
    forwards: int = 0
    backwards: int = 0
    bfloat16_forwards: int = 0
    seconds: float = 0.0
    spared: list[int] = field(default_factory=list)
    may_fall: int = 0

    @property
    def audit(self) -> Audit:
        """What is known of the examples that were spared."""
        return Audit(self.spared, self.may_fall)

    def causes(self) -> list[str | None]:
        """For each example the part of the attack that broke it; None where none did."""
        causes: list[str | None] = [None] * len(self.verdicts)
        for part, positions in self.broken_by.items():
            for position in positions:
                causes[position] = part
        return causes

    def record(self, batch: Tensor, right: Tensor, proposal: Proposal) -> None:
        """Enter which examples at ``batch`` (M,) are still ``right``, bool (M,), after what the attack proposed."""
        part = proposal.part.cpu()
        self.verdicts[batch] = right
        self.lost += int(((part >= 0) & right).sum())
        for number, name in enumerate(proposal.parts):
            self.broken_by.setdefault(name, []).extend(batch[(part == number) & ~right].tolist())

    def add(self, other: "Judgement") -> None:
        """Put in what the same attack found on other examples of the same set, of as many verdicts or, here, none."""
        self.verdicts = self.verdicts & other.verdicts if len(self.verdicts) else other.verdicts
        for part, positions in other.broken_by.items():
            self.broken_by[part] = sorted([*self.broken_by.get(part, []), *positions])
        self.lost += other.lost
        self.forwards += other.forwards
        self.backwards += other.backwards
        self.bfloat16_forwards += other.bfloat16_forwards
        self.seconds += other.seconds


def all_verdicts(judgements: Mapping[str, Judgement]) -> dict[str, Tensor]:
    """The verdicts under each attack, and under ``worst-case``: what stands under every one of them."""
    verdicts = {name: judgement.verdicts for name, judgement in judgements.items()}
    return {**verdicts, WORST_CASE: torch.stack(list(verdicts.values())).all(0)}


def accuracies(judgements: Mapping[str, Judgement]) -> dict[str, float]:
    """The accuracy under each attack and under ``worst-case``, as fractions."""
    return {name: float(each.double().mean()) for name, each in all_verdicts(judgements).items()}


def at_least(judgements: Mapping[str, Judgement]) -> dict[str, float]:
    """What would be left at least, with 95 % confidence, under attacks that spared examples; as fractions.

    The worst case is among them where some of what it counts was spared, unless all of AutoAttack was run besides.
    """
    verdicts = all_verdicts(judgements)
    may_fall = {name: judgement.may_fall for name, judgement in judgements.items()}
    if not judgements.keys() & set(AUTOATTACK):
        audits = [judgement.audit for judgement in judgements.values()]
        may_fall[WORST_CASE] = worst_case_may_fall(verdicts[WORST_CASE].numpy(), audits)
    return {
        name: (int(verdicts[name].sum()) - count) / len(verdicts[name]) for name, count in may_fall.items() if count
    }
