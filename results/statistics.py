"""How sure a measured accuracy is, and whether two methods differ."""

from math import sqrt
from statistics import NormalDist

import numpy as np

from results.errors import HarnessError
from results.verdicts import Verdicts


def wilson(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a proportion, as fractions ``(low, high)``.

    Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953, in the closed form of Brown, Cai and DasGupta 2001,
    https://doi.org/10.1214/ss/1009213286, equation (4). With ``n = 0`` nothing is known: (0, 1).

    Raises:
        HarnessError: unless ``0 <= correct <= n`` and ``0 < confidence < 1``.
    """
    if not 0 <= correct <= n:
        raise HarnessError(f"correct must lie between 0 and n, got {correct=} and {n=}")
    if not 0 < confidence < 1:
        raise HarnessError(f"confidence must lie between 0 and 1, for example 0.95, got {confidence}")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p = correct / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    low = 0.0 if correct == 0 else centre - half
    high = 1.0 if correct == n else centre + half
    return low, high


def mcnemar_exact(a: Verdicts, b: Verdicts) -> float:
    """The two-sided exact p-value that two models are equally accurate, from paired verdicts.

    ``a`` and ``b`` are bool (N,) for the same examples in the same order. Only the pairs that differ count: under the
    null hypothesis each is won by either side with probability 1/2. McNemar 1947, https://doi.org/10.1007/BF02295996.
    Without a differing pair it is 1.

    Raises:
        HarnessError: if the two are not bool vectors of one length.
    """
    from scipy.stats import binomtest

    first, second = np.asarray(a), np.asarray(b)
    if first.dtype != np.bool_ or second.dtype != np.bool_ or first.ndim != 1 or first.shape != second.shape:
        raise HarnessError(
            "verdicts to compare must be two bool vectors of one length, "
            f"got {first.dtype} {first.shape} and {second.dtype} {second.shape}"
        )
    only_first = int((first & ~second).sum())
    differing = int((first != second).sum())
    return float(binomtest(only_first, differing).pvalue) if differing else 1.0
