"""Intervals and tests, against SciPy, statsmodels, published examples and the formulas written out."""

from math import comb, log, sqrt
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import xlogy
from scipy.stats import binomtest, ttest_1samp, ttest_ind, ttest_rel
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from results.errors import HarnessError
from results.statistics import holm, mcnemar_exact, t_interval, t_test, tango, welch, wilson


@given(st.integers(1, 20_000), st.data(), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_wilson_is_scipys_wilson_interval(n, data, confidence):
    """SciPy's ``proportion_ci(method="wilson")`` is the oracle, for any count, 0 and n among them."""
    correct = data.draw(st.integers(0, n) | st.sampled_from([0, n]))
    expected = binomtest(correct, n).proportion_ci(confidence, method="wilson")
    assert wilson(correct, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("n", [1, 7, 100, 10_000])
def test_wilson_ends_are_exact_at_none_and_all(n):
    """Rounding never pushes an end outside [0, 1], or off the end it must sit at."""
    assert wilson(0, n)[0] == 0.0
    assert 0 < wilson(0, n)[1] < 1
    assert wilson(n, n)[1] == 1.0
    assert 0 < wilson(n, n)[0] < 1


def test_wilson_of_no_examples_knows_nothing():
    """With n = 0 every proportion is possible."""
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("correct", "n"), [(-1, 5), (6, 5), (1, 0)])
def test_wilson_refuses_impossible_counts(correct, n):
    """More successes than trials, or fewer than none, are the caller's mistake."""
    with pytest.raises(HarnessError, match=f"correct must lie between 0 and n, got correct={correct}"):
        wilson(correct, n)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_wilson_refuses_a_confidence_that_is_no_probability(confidence):
    """95 is not 0.95."""
    with pytest.raises(HarnessError, match="confidence must lie between 0 and 1"):
        wilson(1, 2, confidence)


COUNTS = [(0, 1), (1, 9), (5, 5), (12, 3), (0, 40), (30, 31)]


def test_mcnemar_is_the_binomial_tail_over_differing_pairs():
    """p = min(1, 2 sum_{i <= min} C(n, i) / 2^n) with n differing pairs; of many comparisons at once as of each."""
    several = mcnemar_exact(*np.transpose(COUNTS))
    for (only_a, only_b), found in zip(COUNTS, several, strict=True):
        n, least = only_a + only_b, min(only_a, only_b)
        expected = min(1.0, 2 * sum(comb(n, i) for i in range(least + 1)) / 2**n)
        assert found == pytest.approx(expected, rel=1e-12)
        assert mcnemar_exact(only_a, only_b) == mcnemar_exact(only_b, only_a) == found
        assert (mcnemar_exact(np.full((40, 99), only_a), np.full((40, 99), only_b)) == found).all()
        assert found == pytest.approx(mcnemar([[5, only_a], [only_b, 3]], exact=True).pvalue, rel=1e-12)


def test_mcnemar_without_a_differing_pair_is_one():
    """Equal verdicts, and no verdicts at all, say nothing against equal accuracy."""
    assert mcnemar_exact(0, 0) == 1.0


def differing():
    """(only the first is right, only the second, all pairs)."""
    return st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 60)).map(
        lambda counts: (counts[0], counts[1], counts[0] + counts[1] + counts[2])
    )


def test_tango_gives_the_published_interval():
    """Cavo et al. 2012 in Fagerland, Lydersen and Laake, Statistical Analysis of Contingency Tables, chapter 8.

    The exact McNemar test of the same data gives p = 0.0525: it is the more cautious of the two.
    """
    assert tango(6, 16, 161) == pytest.approx((-0.1240, -0.0054), abs=5e-5)
    assert mcnemar_exact(6, 16) == pytest.approx(0.052479, abs=5e-7)


@given(differing(), st.sampled_from([0.8, 0.95, 0.99]))
def test_at_tangos_ends_the_score_test_just_rejects(counts, confidence):
    """(b - c - n d) / sqrt(n (p + q - d^2)) with p - q = d, q at the maximum of the likelihood, found by search."""
    b, c, n = counts
    for end in tango(b, c, n, confidence):
        least, most = max(0.0, -end), (1 - end) / 2  # of q = P(only the second is right); p = q + end
        q = minimize_scalar(
            lambda q, end=end: -(xlogy(b, q + end) + xlogy(c, q) + (n - b - c) * log(1 - 2 * q - end)),
            bounds=(least + 1e-12, most - 1e-12),
            method="bounded",
            options={"xatol": 1e-12},
        ).x
        score = (b - c - n * end) / sqrt(n * (2 * q + end - end**2))
        assert abs(score) == pytest.approx(NormalDist().inv_cdf((1 + confidence) / 2), rel=1e-3)


@given(differing())
def test_tango_excludes_no_difference_exactly_where_mcnemars_score_test_does(counts):
    """The score of no difference is (b - c) / sqrt(b + c); swapping the two mirrors the interval."""
    b, c, n = counts
    low, high = tango(b, c, n)
    assert -1 <= low <= (b - c) / n <= high <= 1
    assert (low > 0 or high < 0) == ((b - c) ** 2 > NormalDist().inv_cdf(0.975) ** 2 * (b + c))
    assert tango(c, b, n) == pytest.approx((-high, -low), abs=1e-12)


def test_tango_without_a_differing_pair_shrinks_with_the_examples():
    """z^2 / (n + z^2) on both sides. Of no examples nothing is known; where all pairs differ alike an end is 1."""
    z2 = NormalDist().inv_cdf(0.975) ** 2
    assert tango(0, 0, 200) == pytest.approx((-z2 / (200 + z2), z2 / (200 + z2)), abs=1e-12)
    assert tango(0, 0, 0) == (-1.0, 1.0)
    assert tango(7, 0, 7)[1] == tango(0, 7, 7)[0] * -1 == 1.0


def test_tango_covers_the_true_difference_in_nineteen_of_twenty_samples():
    """200 examples, 6 % and 3 % of them right for one side alone; 4,000 samples."""
    random = np.random.default_rng(0)
    counts = random.multinomial(200, [0.06, 0.03, 0.91], size=4000)
    ends = np.array([tango(int(b), int(c), 200) for b, c, _ in counts])
    assert ((ends[:, 0] <= 0.03) & (ends[:, 1] >= 0.03)).mean() == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize(("b", "c", "n"), [(-1, 0, 5), (3, 3, 5), (0, 6, 5)])
def test_tango_refuses_impossible_counts(b, c, n):
    with pytest.raises(HarnessError, match=f"part of all n, got only_first={b}, only_second={c} and n={n}"):
        tango(b, c, n)


SEEDS = [[0.61, 0.655], [0.7, 0.66, 0.71], [0.1, -0.2, 0.05, 0.0, 0.31]]


@pytest.mark.parametrize("values", SEEDS)
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_t_interval_is_scipys_and_statsmodels(values, confidence):
    found = t_interval(values, confidence)
    assert found == pytest.approx(tuple(ttest_1samp(values, 0).confidence_interval(confidence)), rel=1e-12)
    assert found == pytest.approx(DescrStatsW(values).tconfint_mean(1 - confidence), rel=1e-12)


@pytest.mark.parametrize("first", SEEDS)
def test_the_t_test_of_differences_is_scipys_paired_test(first):
    second = [0.6, 0.6, 0.61, 0.59, 0.58][: len(first)]
    differences = [a - b for a, b in zip(first, second, strict=True)]
    assert t_test(differences, resolution=1e-6) == pytest.approx(ttest_rel(first, second).pvalue, rel=1e-9)


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=6), st.sampled_from([10, 497]))
def test_the_resolution_matters_only_where_all_values_agree(counts, n):
    """k integers that are not all equal have a sample deviation of at least 1 / sqrt(k): one of them a step away."""
    values = [count / n for count in counts]
    if len(set(counts)) == 1:
        values_apart = [values[0] - 1 / n, *values[1:]]
        half = np.diff(t_interval(values_apart)) / 2
        assert np.diff(t_interval(values, resolution=1 / n)) / 2 == pytest.approx(half, rel=1e-9)
    else:
        assert t_interval(values, resolution=1 / n) == pytest.approx(t_interval(values), rel=1e-9)


def test_equal_differences_are_no_proof():
    """Twice the same one example of 200 is nothing; no difference at all is p = 1; 20 points, twice, is something."""
    assert t_test([0.005, 0.005], resolution=1 / 200) == pytest.approx(ttest_1samp([1, 2], 0.5).pvalue)
    assert t_test([0.0, 0.0, 0.0], resolution=1 / 200) == 1.0
    assert t_test([0.2, 0.2], resolution=1 / 200) < 0.05


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_welch_is_scipys(first, second):
    if min(np.std(first), np.std(second)) > 1e-3:
        oracle = ttest_ind(first, second, equal_var=False).pvalue
        assert welch(first, second, resolution=1e-9) == pytest.approx(oracle, rel=1e-6)


def test_welch_of_values_that_agree_takes_the_resolution_for_their_spread():
    """On ten examples 0.5 and 0.6 are one answer apart; on a thousand a hundred."""
    assert welch([0.5, 0.5], [0.6, 0.6], resolution=0.1) > 0.05 > welch([0.5, 0.5], [0.6, 0.6], resolution=0.001)
    assert welch([0.5, 0.5], [0.5, 0.5], resolution=0.1) == 1


def test_many_tests_at_once_are_each_alone():
    """Of values in the last axis, whatever the others are."""
    random = np.random.default_rng(0)
    first, second = random.random((4, 1, 5)), random.random((1, 3, 2))
    t, w = t_test(first, resolution=0.01), welch(first, second, resolution=0.01)
    assert (t.shape, w.shape) == ((4, 1), (4, 3))
    for place, one in enumerate(first[:, 0]):
        assert t[place, 0] == pytest.approx(t_test(one, resolution=0.01), rel=1e-12)
        expected = [welch(one, other, resolution=0.01) for other in second[0]]
        assert w[place] == pytest.approx(np.array(expected), rel=1e-12)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_one_value_has_no_spread(values):
    with pytest.raises(HarnessError, match=f"takes at least two values, got {len(values)}: run more seeds"):
        t_interval(values)
    with pytest.raises(HarnessError, match="takes at least two values"):
        t_test(values, resolution=0.1)


@pytest.mark.parametrize("number", [1, 2, 3, 10, 21])
def test_holm_is_statsmodels(number):
    """Of p-values in any order, with ties, 0 and 1; adjusted ones keep the order."""
    random = np.random.default_rng(number)
    p_values = np.round(random.beta(0.3, 2, size=number), 2).tolist()
    adjusted = holm(p_values)
    assert adjusted == pytest.approx(list(multipletests(p_values, method="holm")[1]), abs=1e-12)
    assert adjusted[np.argsort(p_values)].tolist() == sorted(adjusted)


def test_holm_of_three_by_hand():
    """3 x 0.01, then 2 x 0.02, then the larger of 0.04 and 0.03: thresholds at 5 % of 5/3, 5/2 and 5 %."""
    assert holm([0.02, 0.03, 0.01]) == pytest.approx([0.04, 0.04, 0.03])
    assert holm([]).tolist() == []


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_holm_refuses_what_is_no_p_value(value):
    with pytest.raises(HarnessError, match=r"p-values must lie between 0 and 1, got (-0\.1|1\.5|nan)"):
        holm([0.5, value])
