"""Is one method more accurate than another on the same examples, by how much, and how sure is that?"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from results.errors import HarnessError
from results.statistics import Floats, holm, mcnemar_exact, t_interval, t_test, tango, welch
from results.verdicts import Verdicts

LEVEL = 0.05

BySeed = Mapping[int, Verdicts]
Counts = NDArray[np.int64]
# By how much each method of the first group (A) is more accurate than each of the second (B), and the p-values that it
# is not, both (A, B). The methods of one group have the same seeds, and the same number of examples of each.
Test = Callable[[Sequence[BySeed], Sequence[BySeed]], tuple[Floats, Floats] | None]


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
    won, lost, examples = _discordant([first], [second], seeds)
    wins, losses = won[0, 0].tolist(), lost[0, 0].tolist()
    if len(seeds) == 1:
        p_value, (low, high) = mcnemar_exact(wins[0], losses[0]), tango(wins[0], losses[0], examples)
    else:
        differences = (won[0, 0] - lost[0, 0]) / examples
        p_value = t_test(differences, resolution=1 / examples)
        low, high = t_interval(differences.tolist(), resolution=1 / examples)
    difference = (sum(wins) - sum(losses)) / (examples * len(seeds))
    return Difference(difference, low, high, float(p_value), sum(wins), sum(losses), examples, seeds)


def paired_test(first: Sequence[BySeed], second: Sequence[BySeed]) -> tuple[Floats, Floats] | None:
    """As :func:`compare`; None where no seed is in common."""
    seeds = sorted(first[0].keys() & second[0].keys())
    if not seeds:
        return None
    wins, losses, examples = _discordant(first, second, seeds)
    differences = (wins - losses) / examples
    if len(seeds) == 1:
        return differences[..., 0], mcnemar_exact(wins[..., 0], losses[..., 0])
    return differences.mean(axis=-1), t_test(differences, resolution=1 / examples)


def means_test(first: Sequence[BySeed], second: Sequence[BySeed]) -> tuple[Floats, Floats] | None:
    """What a table of means and deviations can say: Welch's t-test over the seeds, which need not be the same.

    Of methods with one seed each it is the exact McNemar test on the examples that both cover, which compares trained
    models. None where only one group has several seeds.
    """
    numbers = [len(group[0]) for group in (first, second)]
    if 0 in numbers or (numbers[0] > 1) != (numbers[1] > 1):
        return None
    if numbers == [1, 1]:
        return paired_test(*([dict(enumerate(own.values())) for own in group] for group in (first, second)))
    examples = min(len(verdicts) for group in (first, second) for verdicts in group[0].values())
    means, others = (
        np.array([[verdicts[:examples].mean() for verdicts in own.values()] for own in group])
        for group in (first, second)
    )
    p_values = welch(means[:, None], others[None], resolution=1 / examples)
    return means.mean(axis=-1)[:, None] - others.mean(axis=-1), p_values


def _discordant(first: Sequence[BySeed], second: Sequence[BySeed], seeds: Sequence[int]) -> tuple[Counts, Counts, int]:
    """How many examples only the first got right, and only the second, both (A, B, seeds), and of how many.

    Of every pair at once: how many both got right is a product of matrices.
    """
    examples = min(len(group[0][seed]) for group in (first, second) for seed in seeds)
    shape = len(first), len(second), len(seeds)
    wins, losses = np.empty(shape, np.int64), np.empty(shape, np.int64)
    for place, seed in enumerate(seeds):
        right, other = (
            np.stack([own[seed][:examples] for own in group]).astype(np.float32)  # exact up to 2^24 examples
            for group in (first, second)
        )
        both = right @ other.T
        wins[..., place] = right.sum(axis=1)[:, None] - both
        losses[..., place] = other.sum(axis=1) - both
    return wins, losses, examples


def better(methods: Sequence[BySeed], test: Test) -> NDArray[np.bool_]:
    """Whether each of M methods (row) is significantly more accurate than each other (column): bool (M, M).

    The p-values of all pairs that ``test`` can compare are corrected for their number (Holm): at 5 %, the risk that
    any method at all is wrongly placed behind another.
    """
    alike: dict[frozenset[tuple[int, int]], list[int]] = defaultdict(list)
    for place, own in enumerate(methods):
        alike[frozenset((seed, len(verdicts)) for seed, verdicts in own.items())].append(place)
    found = np.zeros((len(methods), len(methods)), np.bool_)
    tested = []
    for places in combinations_with_replacement(alike.values(), 2):
        outcome = test(*([methods[place] for place in group] for group in places))
        if outcome:
            pairs = (*np.meshgrid(*places, indexing="ij"), *outcome)
            once = pairs[0] < pairs[1] if places[0] is places[1] else np.ones_like(found, shape=outcome[0].shape)
            tested.append([each[once] for each in pairs])
    if tested:
        first, second, difference, p_values = map(np.concatenate, zip(*tested, strict=True))
        significant = holm(p_values) < LEVEL
        winner, loser = (np.where(difference > 0, *pair)[significant] for pair in ((first, second), (second, first)))
        found[winner, loser] = True
    return found


def ranks(methods: Sequence[BySeed]) -> list[int]:
    """For each method 1 + the number of those significantly :func:`better` by :func:`compare`; equal ranks are ties."""
    return [1 + beaten for beaten in better(methods, paired_test).sum(axis=0).tolist()]


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
