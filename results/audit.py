"""What a random sample says of the examples that were spared the whole attack."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from results.verdicts import Verdicts


class Audit(NamedTuple):
    """Of the examples at the positions ``spared`` at most ``may_fall`` would fall, with 95 % confidence."""

    spared: Sequence[int]
    may_fall: int


def most_missed(population: int, sample: int, confidence: float = 0.95) -> int:
    """How many in a population would fall at most, if of a random ``sample`` of it, drawn beforehand, none fell.

    The largest number K of which a sample without replacement has none with a probability of at least
    ``1 - confidence``, ``C(population - K, sample) / C(population, sample)``: the exact bound for a finite population.
    About ``1 - 0.05 ** (1 / sample)`` of it at 95 %; all of it without a sample, and none if all were looked at.
    """
    missed, chance, rest = 0, 1.0, population - sample
    while missed < rest:
        chance *= (rest - missed) / (population - missed)
        if chance < 1 - confidence:
            break
        missed += 1
    return missed


def worst_case_may_fall(withstood: Verdicts, audits: Iterable[Audit]) -> int:
    """How many that withstood everything, bool (N,), may yet fall: of each audit's spared those that are among them.

    Audits of one model are about one and the same attack, so the most cautious of them counts.
    """
    standing = set(np.flatnonzero(withstood).tolist())
    return max((min(audit.may_fall, len(standing.intersection(audit.spared))) for audit in audits), default=0)
