"""Is one method more accurate than another on the same examples, by how much, and how sure is that?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import mean

from results.errors import HarnessError
from results.statistics import holm, mcnemar_exact, t_interval, t_test, tango, welch
from results.verdicts import Verdicts

LEVEL = 0.05

BySeed = Mapping[int, Verdicts]
Tested = tuple[float, float]  # by how much the first is more accurate, and the p-value that it is not
Test = Callable[[BySeed, BySeed], Tested | None]


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


def paired_test(first: BySeed, second: BySeed) -> Tested | None:
    """As :func:`compare`; None where no seed is in common."""
    if not first.keys() & second.keys():
        return None
    found = compare(first, second)
    return found.difference, found.p_value


def means_test(first: BySeed, second: BySeed) -> Tested | None:
    """What a table of means and deviations can say: Welch's t-test over the seeds, which need not be the same.

    Of two methods with one seed each it is the exact McNemar test on the examples that both cover, which compares two
    trained models. None where only one of them has several seeds.
    """
    if not (first and second) or (len(first) > 1) != (len(second) > 1):
        return None
    examples = min(len(verdicts) for own in (first, second) for verdicts in own.values())
    one, other = ([verdicts[:examples] for verdicts in own.values()] for own in (first, second))
    means, others = ([float(verdicts.mean()) for verdicts in own] for own in (one, other))
    several = len(first) > 1
    p_value = welch(means, others, resolution=1 / examples) if several else mcnemar_exact(one[0], other[0])
    return mean(means) - mean(others), p_value


def better(methods: Sequence[BySeed], test: Test) -> set[tuple[int, int]]:
    """The pairs (i, j) of methods of which the first is significantly more accurate than the second.

    The p-values of all pairs that ``test`` can compare are corrected for their number (Holm): at 5 %, the risk that
    any method at all is wrongly placed behind another.
    """
    tested = {(i, j): test(methods[i], methods[j]) for i, j in combinations(range(len(methods)), 2)}
    found = {pair: each for pair, each in tested.items() if each}
    adjusted = holm([p_value for _, p_value in found.values()])
    return {
        (i, j) if difference > 0 else (j, i)
        for ((i, j), (difference, _)), p_value in zip(found.items(), adjusted, strict=True)
        if p_value < LEVEL
    }


def ranks(methods: Sequence[BySeed]) -> list[int]:
    """For each method 1 + the number of those significantly :func:`better` by :func:`compare`; equal ranks are ties."""
    beaten = [loser for _, loser in better(methods, paired_test)]
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
