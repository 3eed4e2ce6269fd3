"""Is one method more accurate than another on the same examples, by how much, and how sure is that?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from results.errors import HarnessError
from results.statistics import holm, mcnemar_exact, t_interval, t_test, tango
from results.verdicts import Verdicts

LEVEL = 0.05

BySeed = Mapping[int, Verdicts]


@dataclass(frozen=True)
class Difference:
    """How much more accurate the first of two methods is; differences are fractions.

    ``low`` to ``high`` is the 95 % interval of ``difference``, ``p_value`` tests that there is none. ``wins`` counts
    the examples that only the first got right, ``losses`` those that only the second did, over all ``seeds``.
    """

    difference: float
    low: float
    high: float
    p_value: float
    wins: int
    losses: int
    examples: int
    seeds: tuple[int, ...]

    @property
    def significant(self) -> bool:
        """Whether the test rejects equality at 5 %."""
        return self.p_value < LEVEL


def compare(first: BySeed, second: BySeed) -> Difference:
    """The difference of two methods over the seeds that both were trained with.

    Verdicts are those on the first examples of one test set; where numbers differ, the examples that all cover count.
    With one seed in common, the exact McNemar test and Tango's interval over the examples: they are about two trained
    models, and say nothing about another training. The exact test is the more cautious of the two; it decides. With
    several, the paired t-test and Student's interval over the differences of the seeds: they are about trainings, and
    take the test examples as given.

    Raises:
        HarnessError: if no seed is in common.
    """
    seeds = tuple(sorted(first.keys() & second.keys()))
    if not seeds:
        raise HarnessError(
            f"methods are compared seed by seed, got seeds {_list(first)} and {_list(second)}: "
            "run one of them with a seed of the other"
        )
    examples = min(len(own[seed]) for own in (first, second) for seed in seeds)
    pairs = [(first[seed][:examples], second[seed][:examples]) for seed in seeds]
    wins, losses = [int((a & ~b).sum()) for a, b in pairs], [int((b & ~a).sum()) for a, b in pairs]
    if len(seeds) == 1:
        p_value, (low, high) = mcnemar_exact(*pairs[0]), tango(wins[0], losses[0], examples)
    else:
        differences = [(won - lost) / examples for won, lost in zip(wins, losses, strict=True)]
        p_value = t_test(differences, resolution=1 / examples)
        low, high = t_interval(differences, resolution=1 / examples)
    difference = (sum(wins) - sum(losses)) / (examples * len(seeds))
    return Difference(difference, low, high, p_value, sum(wins), sum(losses), examples, seeds)


def ranks(methods: Sequence[BySeed]) -> list[int]:
    """For each method 1 + the number of those significantly more accurate; equal ranks are ties.

    Every pair with a seed in common is compared, and the p-values are corrected for their number (Holm): at 5 %, the
    risk that any method at all is wrongly placed behind another.
    """
    places = [(i, j) for i, j in combinations(range(len(methods)), 2) if methods[i].keys() & methods[j].keys()]
    found = [compare(methods[i], methods[j]) for i, j in places]
    adjusted = holm([each.p_value for each in found])
    behind = [j if each.difference > 0 else i for (i, j), each in zip(places, found, strict=True)]
    beaten = [place for place, p_value in zip(behind, adjusted, strict=True) if p_value < LEVEL]
    return [1 + beaten.count(place) for place in range(len(methods))]


def sentence(first: str, second: str, found: Difference, measure: str, where: str = "") -> str:
    """Who wins, by how much and how sure, in words; ``measure`` such as ``worst-case accuracy``.

    ``where`` follows the number of examples, such as ``digits, best checkpoint``.
    """
    size, low, high = (round(100 * each, 2) + 0.0 for each in (found.difference, found.low, found.high))
    if found.significant and size < 0:
        first, second, size, low, high = second, first, -size, -high, -low
    if found.significant:
        claim = f"{first} beats {second} by {size:.2f} points of {measure} (95 %: {low:.2f} to {high:.2f})"
    else:
        claim = (
            f"The data cannot tell {first} from {second}: {first} minus {second} is {size:+.2f} points of {measure} "
            f"(95 %: {low:+.2f} to {high:+.2f})"
        )
    sample = f"on the same {found.examples} test examples" + (f" ({where})" if where else "")
    return f"{claim} {sample}, {_test(found)}."


def _test(found: Difference) -> str:
    p_value = "p < 0.001" if found.p_value < 0.001 else f"p = {found.p_value:.3g}"
    if len(found.seeds) > 1:
        return f"{p_value} (paired t-test over {len(found.seeds)} seeds)"
    counts = sorted((found.wins, found.losses), reverse=True)
    return (
        f"{p_value} (exact McNemar; {counts[0]} examples to {counts[1]}); "
        "one seed: what another training would change is not known"
    )


def _list(seeds: BySeed) -> str:
    return ", ".join(map(str, sorted(seeds))) or "none"
