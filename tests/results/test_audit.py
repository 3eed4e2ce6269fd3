"""The bound on what a random sample did not show, against SciPy's hypergeometric distribution and by enumeration."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import hypergeom

from results.audit import Audit, most_missed, worst_case_may_fall


@pytest.mark.parametrize(("population", "sample"), [(1, 1), (7, 3), (40, 12), (300, 36), (300, 299)])
def test_the_bound_is_the_largest_number_that_such_a_sample_would_miss_one_time_in_twenty(population, sample):
    compatible = [k for k in range(population - sample + 1) if hypergeom(population, k, sample).pmf(0) >= 0.05]
    assert most_missed(population, sample) == max(compatible)


def test_without_a_sample_all_may_fall_and_without_a_rest_none():
    assert (most_missed(9, 0), most_missed(9, 9), most_missed(0, 0)) == (9, 0, 0)


def test_of_a_large_population_it_is_the_known_share():
    assert most_missed(10**6, 30) / 10**6 == pytest.approx(1 - 0.05 ** (1 / 30), abs=1e-4)


def test_the_bound_is_wrong_at_most_one_time_in_twenty():
    """Every sample of 8 from 12 of which some would fall: the claim is false where none of them is in it."""
    for fallible in range(1, 13):
        samples = list(combinations(range(12), 8))
        bound = most_missed(12, 8)
        wrong = sum(min(sample) >= fallible and fallible > bound for sample in samples)
        assert wrong <= 0.05 * len(samples)


def test_of_the_worst_case_only_what_was_spared_may_fall():
    """Of the spared 1, 2, 3 the last fell to another attack; an audit of another sample is the more cautious one."""
    withstood = np.array([True, True, True, False])
    assert worst_case_may_fall(withstood, [Audit([1, 2, 3], 3)]) == 2
    assert worst_case_may_fall(withstood, [Audit([1, 2, 3], 1)]) == 1
    assert worst_case_may_fall(withstood, [Audit([3], 1)]) == 0
    assert worst_case_may_fall(withstood, [Audit([3], 1), Audit([0, 1], 2)]) == 2
    assert worst_case_may_fall(withstood, []) == 0
