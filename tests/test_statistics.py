"""Intervals and paired tests, against SciPy and against the formulas written out."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from results.errors import HarnessError
from results.statistics import mcnemar_exact, wilson


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


def paired(only_a, only_b, both=5, neither=3):
    a = [True] * only_a + [False] * only_b + [True] * both + [False] * neither
    b = [False] * only_a + [True] * only_b + [True] * both + [False] * neither
    return np.array(a), np.array(b)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 1), (1, 9), (5, 5), (12, 3), (0, 40), (30, 31)])
def test_mcnemar_is_the_binomial_tail_over_differing_pairs(only_a, only_b):
    """p = min(1, 2 sum_{i <= min} C(n, i) / 2^n) with n differing pairs, whatever the other pairs are."""
    n, least = only_a + only_b, min(only_a, only_b)
    expected = min(1.0, 2 * sum(comb(n, i) for i in range(least + 1)) / 2**n)
    a, b = paired(only_a, only_b)
    assert mcnemar_exact(a, b) == pytest.approx(expected, rel=1e-12)
    assert mcnemar_exact(b, a) == pytest.approx(expected, rel=1e-12)


def test_mcnemar_without_a_differing_pair_is_one():
    """Equal verdicts, and no verdicts at all, say nothing against equal accuracy."""
    a, _ = paired(0, 0)
    assert mcnemar_exact(a, a) == 1.0
    assert mcnemar_exact(a[:0], a[:0]) == 1.0


@pytest.mark.parametrize(
    ("a", "b"), [([True], [True, False]), ([1, 0], [True, False]), ([[True]], [[True]]), ([0.5], [0.5])]
)
def test_mcnemar_refuses_what_is_not_paired_verdicts(a, b):
    """Lengths must agree and values be bool: 0/1 integers would make ``~`` mean something else."""
    with pytest.raises(HarnessError, match="two bool vectors of one length"):
        mcnemar_exact(np.array(a), np.array(b))
