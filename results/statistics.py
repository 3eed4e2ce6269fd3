"""How sure a measured accuracy is, and whether two methods differ.

The tests take many comparisons at once, as arrays, or a single one.
"""

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from results.errors import HarnessError

Floats = NDArray[np.float64]


def wilson(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a proportion, as fractions ``(low, high)``.

    Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953, in the closed form of Brown, Cai and DasGupta 2001,
    https://doi.org/10.1214/ss/1009213286, equation (4). With ``n = 0`` nothing is known: (0, 1).

    Raises:
        HarnessError: unless ``0 <= correct <= n`` and ``0 < confidence < 1``.
    """
    if not 0 <= correct <= n:
        raise HarnessError(f"correct must lie between 0 and n, got {correct=} and {n=}")
    z = NormalDist().inv_cdf(_upper_level(confidence))
    if n == 0:
        return 0.0, 1.0
    p = correct / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    low = 0.0 if correct == 0 else centre - half
    high = 1.0 if correct == n else centre + half
    return low, high


def mcnemar_exact(only_first: ArrayLike, only_second: ArrayLike) -> Floats:
    """The two-sided exact p-values that two models are equally accurate on the same examples.

    ``only_first`` examples are right for the first alone, ``only_second`` for the second alone. Only these count: under
    the null hypothesis each is won by either side with probability 1/2. McNemar 1947,
    https://doi.org/10.1007/BF02295996. Without one it is 1.
    """
    from scipy.special import bdtr  # not scipy.stats, whose import takes longer than a whole report

    fewer, differing = np.minimum(only_first, only_second), np.add(only_first, only_second)
    most = differing.max(initial=0)
    if fewer.size > (most + 1) * (most // 2 + 1):  # more pairs than there are counts: each p-value is computed once
        every = np.arange(most + 1)
        return np.asarray(np.minimum(1.0, 2 * bdtr(every[: most // 2 + 1], every[:, None], 0.5))[differing, fewer])
    return np.asarray(np.minimum(1.0, 2 * bdtr(fewer, differing, 0.5)))


def tango(only_first: int, only_second: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of the difference of two accuracies on the same ``n`` examples, as fractions.

    ``only_first`` examples are right for the first alone, ``only_second`` for the second alone. It is to pairs what
    Wilson's interval is to one proportion: the differences that a score test does not reject. Tango 1998,
    https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B. With ``n = 0``: (-1, 1).

    Raises:
        HarnessError: unless the counts are possible and ``0 < confidence < 1``.
    """
    if min(only_first, only_second) < 0 or only_first + only_second > n:
        raise HarnessError(f"pairs that differ must be part of all n, got {only_first=}, {only_second=} and {n=}")
    z = NormalDist().inv_cdf(_upper_level(confidence))
    if n == 0:
        return -1.0, 1.0

    def compatible(difference: float) -> bool:
        # share: the likeliest P(only the second is right) if the difference is this one, a root of a quadratic
        linear = (2 * n - only_first + only_second) * difference - only_first - only_second
        constant = -only_second * difference * (1 - difference)
        share = (sqrt(max(linear**2 - 8 * n * constant, 0.0)) - linear) / (4 * n)
        variance = n * (2 * share + difference * (1 - difference))
        return (only_first - only_second - n * difference) ** 2 <= z**2 * variance

    def end(outside: float) -> float:
        inside = (only_first - only_second) / n
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if compatible(middle) else (inside, middle)
        return outside

    return end(-1.0), end(1.0)


def t_interval(values: Sequence[float], confidence: float = 0.95, *, resolution: float = 0.0) -> tuple[float, float]:
    """Student's interval of the mean of a few independent values, such as one for each seed.

    ``resolution`` is the step between possible values, 1/n for an accuracy on n examples. Values that happen to agree
    would have no spread and an interval without width; with a resolution they have the least spread that values of
    that step can have otherwise, as if one of them had come out a step away.

    Raises:
        HarnessError: with fewer than two values, or unless ``0 < confidence < 1``.
    """
    from scipy.special import stdtrit

    centre, error = (float(each) for each in _mean_and_error(np.asarray(values), resolution))
    half = float(stdtrit(len(values) - 1, _upper_level(confidence))) * error
    return centre - half, centre + half


def t_test(values: ArrayLike, *, resolution: float) -> Floats:
    """The two-sided p-values of Student's test that the mean of the values (..., k) is 0: (...).

    On the differences of pairs it is the paired t-test. ``resolution``, above 0, is as in :func:`t_interval`.

    Raises:
        HarnessError: with fewer than two values.
    """
    from scipy.special import stdtr

    centre, error = _mean_and_error(np.asarray(values), resolution)
    return np.asarray(2 * stdtr(np.shape(values)[-1] - 1, -abs(centre) / error))


def welch(first: ArrayLike, second: ArrayLike, *, resolution: float) -> Floats:
    """The two-sided p-values that two groups of independent values have one mean, whatever their spreads.

    The groups are (..., k) and (..., m), the rest of their shapes broadcast. Welch 1947,
    https://doi.org/10.1093/biomet/34.1-2.28. ``resolution``, above 0, is as in :func:`t_interval`.

    Raises:
        HarnessError: with fewer than two values in a group.
    """
    from scipy.special import stdtr

    (one, error), (other, other_error) = (_mean_and_error(np.asarray(each), resolution) for each in (first, second))
    variance = error**2 + other_error**2
    freedom = variance**2 / (error**4 / (np.shape(first)[-1] - 1) + other_error**4 / (np.shape(second)[-1] - 1))
    return np.asarray(2 * stdtr(freedom, -abs(one - other) / np.sqrt(variance)))


def holm(p_values: ArrayLike) -> Floats:
    """Adjusted p-values, in the order given: those below 5 % may all be believed with a 5 % risk of any mistake.

    Holm 1979, https://www.jstor.org/stable/4615733. Adjusted values keep the order of the given ones.

    Raises:
        HarnessError: if a value lies outside [0, 1].
    """
    given = np.asarray(p_values, np.float64)
    if wrong := given[~((given >= 0) & (given <= 1))].tolist():
        raise HarnessError(f"p-values must lie between 0 and 1, got {wrong[0]}")
    ascending = np.argsort(given)
    least_first = np.minimum(1.0, np.arange(len(given), 0, -1) * given[ascending])
    adjusted = np.empty_like(given)
    adjusted[ascending] = np.maximum.accumulate(least_first)
    return adjusted


def _upper_level(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise HarnessError(f"confidence must lie between 0 and 1, for example 0.95, got {confidence}")
    return (1 + confidence) / 2


def _mean_and_error(values: Floats, resolution: float) -> tuple[Floats, Floats]:
    """Mean and standard error over the last axis; k unequal values have no less spread than resolution / sqrt(k)."""
    k = values.shape[-1]
    if k < 2:
        raise HarnessError(f"a spread takes at least two values, got {k}: run more seeds")
    spread = np.maximum(np.std(values, axis=-1, ddof=1), resolution / sqrt(k))
    return np.mean(values, axis=-1), spread / sqrt(k)
