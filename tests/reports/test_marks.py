"""What stands out in a column, and what the statistics must show for it."""

import numpy as np
import pandas as pd
import pytest
from reports_example import hits, results
from scipy.stats import binomtest, ttest_ind

from reports.table import comparison
from reports.table.marks import supported


def marked(frame, attack="cw"):
    """The styles of the column by method."""
    return {method: style for (method, _), style in supported(comparison(frame), [attack]).items()}


def test_one_seed_best_and_second_are_those_whose_every_mcnemar_test_is_won():
    """Nested answers: 20 apart is p = 2 / 2^20, and six pairs are tested."""
    assert 6 * binomtest(20, 20).pvalue < 0.05
    assert marked(hits({"pgd-at": [100], "trades": [120], "mart": [140], "natural": [80]})) == {
        "mart": "best",
        "trades": "second",
    }


def test_methods_that_cannot_be_told_apart_are_best_together():
    """Four answers to none is p = 0.125."""
    assert binomtest(4, 4).pvalue > 0.05
    frame = hits({"pgd-at": [140], "trades": [144], "mart": [100], "natural": [60]})
    assert marked(frame) == {"pgd-at": "best", "trades": "best", "mart": "second"}


def test_nothing_is_marked_where_all_tie_or_one_ties_with_two_that_differ():
    """6 apart is p = 0.031 alone and no proof among three pairs; 12 apart is."""
    assert binomtest(6, 6).pvalue * 2 > 0.05 > 3 * binomtest(12, 12).pvalue
    assert marked(hits({"pgd-at": [100], "trades": [102], "mart": [104]})) == {}
    assert marked(hits({"pgd-at": [100], "trades": [106], "mart": [112]})) == {}
    assert marked(hits({"pgd-at": [100]})) == {}


def test_the_last_method_is_not_second():
    assert marked(hits({"pgd-at": [100], "trades": [140]})) == {"trades": "best"}


def test_several_seeds_are_welchs_test_of_means_whatever_the_single_examples():
    """Means 10 points apart with deviations of 1 point are different, with deviations of 10 points they are not."""
    sure, unsure = [[120, 118, 122], [140, 138, 142]], [[120, 100, 140], [140, 120, 160]]
    assert ttest_ind(*sure, equal_var=False).pvalue < 0.05 < ttest_ind(*unsure, equal_var=False).pvalue
    for pair, expected in ((sure, {"trades": "best"}), (unsure, {})):
        assert marked(hits(dict(zip(["pgd-at", "trades"], pair, strict=True)))) == expected


def test_the_p_values_of_a_column_are_corrected_for_their_number():
    """Welch's test of two methods alone is significant; as one of six pairs it is not."""
    pair = {"pgd-at": [120, 118, 122], "trades": [128, 126, 124]}
    p_value = ttest_ind(*pair.values(), equal_var=False).pvalue
    assert p_value < 0.05 < 3 * p_value
    assert marked(hits(pair)) == {"trades": "best"}
    assert marked(hits(pair | {"mart": [122, 123, 121], "natural": [119, 123, 121]})) == {}


def test_a_method_with_fewer_seeds_cannot_be_told_from_one_with_several():
    assert marked(hits({"pgd-at": [100, 101, 102], "trades": [180]})) == {}


def test_what_masking_inflates_takes_no_part():
    frame = hits({"pgd-at": [100], "trades": [140], "trades-ancra": [199]})
    assert marked(frame) == {"trades": "best"}


def test_a_worst_case_over_fewer_attacks_takes_no_part():
    frame = hits({"pgd-at": [100], "trades": [140], "mart": [180]}, attack="worst-case")
    assert marked(frame, "worst-case") == {"mart": "best", "trades": "second"}
    less = frame[(frame["method"] != "mart") | (frame["attack"] != "fgsm")]
    assert marked(less, "worst-case") == {"trades": "best"}


def test_without_outcomes_of_single_examples_nothing_is_marked():
    assert marked(hits({"pgd-at": [100], "trades": [140]}).drop(columns="verdicts")) == {}


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_equal_methods_are_never_marked(seeds):
    frame = results(["trades"], seeds=seeds)
    twice = pd.concat([frame, frame.assign(method="mart", train_id=frame["train_id"] + "-2")], ignore_index=True)
    assert supported(comparison(twice), comparison(twice).attacks) == {}
    assert np.array_equal(*(twice[twice["method"] == name]["accuracy"] for name in ("trades", "mart")))
