"""Two methods on the same examples, and the ranks of several."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_ind, ttest_rel
from statsmodels.stats.multitest import multipletests

from results.compare import Difference, better, compare, means_test, paired_test, ranks, sentence
from results.errors import HarnessError
from results.statistics import tango


def verdicts(only_first, only_second, both=50, neither=50):
    """A pair of verdicts with these counts."""
    first = [True] * only_first + [False] * only_second + [True] * both + [False] * neither
    second = [False] * only_first + [True] * only_second + [True] * both + [False] * neither
    return np.array(first), np.array(second)


def pair(*counts):
    """Two methods with a seed for each (only_first, only_second); always 160 examples."""
    drawn = [verdicts(won, lost, 80, 80 - won - lost) for won, lost in counts]
    return {seed: a for seed, (a, _) in enumerate(drawn)}, {seed: b for seed, (_, b) in enumerate(drawn)}


def test_one_seed_is_mcnemars_exact_test_over_examples():
    found = compare(*pair((14, 5)))
    assert found.p_value == pytest.approx(binomtest(14, 19).pvalue)
    assert (found.wins, found.losses, found.examples, found.seeds) == (14, 5, 160, (0,))
    assert found.difference == pytest.approx(9 / 160)
    assert (found.low, found.high) == tango(14, 5, 160)


def test_several_seeds_are_a_paired_t_test_over_their_differences():
    """SciPy is the oracle, from the accuracies."""
    first, second = pair((14, 5), (20, 8), (9, 6))
    found = compare(first, second)
    oracle = ttest_rel([first[seed].mean() for seed in range(3)], [second[seed].mean() for seed in range(3)])
    assert found.p_value == pytest.approx(oracle.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(oracle.confidence_interval(0.95)))
    assert found.difference == pytest.approx((9 + 12 + 3) / 3 / 160)
    assert (found.wins, found.losses, found.seeds) == (43, 19, (0, 1, 2))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=4))
def test_swapping_the_two_mirrors_everything(counts):
    first, second = pair(*counts)
    there, back = compare(first, second), compare(second, first)
    assert there.p_value == pytest.approx(back.p_value)
    assert (back.difference, back.low, back.high) == pytest.approx((-there.difference, -there.high, -there.low))
    assert (back.wins, back.losses) == (there.losses, there.wins)
    assert there.low <= there.difference <= there.high


def test_only_the_seeds_and_examples_that_both_have_count():
    """The second has seed 0 on ten examples more and a seed 7 of its own."""
    first, second = pair((14, 5), (20, 8))
    longer = {0: np.append(second[0], [True] * 10), 7: second[1]}
    found = compare(first, longer)
    assert (found.wins, found.losses, found.examples, found.seeds) == (14, 5, 160, (0,))
    with pytest.raises(HarnessError, match="seed by seed, got seeds 0, 1 and 7: run one of them with a seed"):
        compare(first, {7: second[1]})


def test_a_method_against_itself_differs_in_nothing():
    first, _ = pair((14, 5), (20, 8))
    assert compare(first, first).p_value == compare({0: first[0]}, {0: first[0]}).p_value == 1.0


def test_ranks_are_ties_where_the_data_cannot_tell():
    """Of 400 examples A gets 300, B 296 and C 200: C is behind both, A and B are one."""
    first = np.arange(400) < 300
    b = np.arange(400) < 296
    c = np.arange(400) < 200
    assert ranks([{0: c}, {0: first}, {0: b}]) == [3, 1, 1]
    assert ranks([{0: b}]) == [1]
    assert ranks([]) == []


def test_ranks_need_not_be_transitive():
    """Steps of five examples: neighbours tie (p = 0.06), those two steps apart do not (p = 0.002, times 3 pairs)."""
    chain = [{0: np.arange(100) < correct} for correct in (60, 55, 50)]
    assert [compare(a, b).significant for a, b in pairwise(chain)] == [False, False]
    assert ranks(chain) == [1, 1, 2]


def test_ranks_are_corrected_for_the_number_of_pairs():
    """p = 0.031 for one pair is not enough among the three pairs of three methods."""
    six_apart = [{0: np.arange(100) < correct} for correct in (60, 54)]
    assert ranks(six_apart) == [1, 2]
    assert ranks([*six_apart, {0: np.arange(100) < 57}]) == [1, 1, 1]


def test_by_chance_hardly_any_table_is_ranked():
    """Six equal methods: Holm keeps the share of tables with any rank but 1 at 5 % at most; 200 tables."""
    random = np.random.default_rng(0)
    tables = [[{0: random.random(200) < 0.5} for _ in range(6)] for _ in range(200)]
    assert np.mean([set(ranks(table)) != {1} for table in tables]) <= 0.05 + 0.03


def test_methods_without_a_common_seed_are_not_ranked_against_each_other():
    best, worst = np.ones(100, dtype=bool), np.zeros(100, dtype=bool)
    assert ranks([{0: best}, {1: worst}]) == [1, 1]
    assert ranks([{0: best}, {1: worst}, {0: worst, 1: best}]) == [1, 2, 2]


def test_the_sentence_of_a_winner_says_by_how_much_and_how_sure():
    found = Difference(0.025, 0.006, 0.044, 0.0123, 14, 5, 360, (0,))
    assert sentence("trades", "pgd-at", found, "worst-case accuracy", "digits") == (
        "trades beats pgd-at by 2.50 points of worst-case accuracy (95 %: 0.60 to 4.40) on the same 360 test examples "
        "(digits), p = 0.0123 (exact McNemar; 14 examples to 5); one seed: what another training would change is not "
        "known."
    )


def test_the_winner_comes_first_whoever_was_named_first():
    """Its interval is turned round with it."""
    found = Difference(-0.3, -0.4, -0.2, 1e-9, 3, 300, 1000, (0, 1, 2))
    assert sentence("a", "b", found, "fgsm accuracy") == (
        "b beats a by 30.00 points of fgsm accuracy (95 %: 20.00 to 40.00) on the same 1000 test examples, "
        "p < 0.001 (paired t-test over 3 seeds)."
    )


def test_the_sentence_says_when_the_data_cannot_tell():
    found = Difference(-0.001, -0.02, 0.018, 0.71, 4, 5, 1000, (0, 1))
    assert sentence("a", "b", found, "cw accuracy") == (
        "The data cannot tell a from b: a minus b is -0.10 points of cw accuracy (95 %: -2.00 to +1.80) on the same "
        "1000 test examples, p = 0.71 (paired t-test over 2 seeds)."
    )
    assert "+0.00 points" in sentence("a", "b", Difference(-0.0, -0.1, 0.1, 1.0, 3, 3, 10, (0,)), "cw accuracy")


def test_means_are_tested_as_they_are_printed():
    """Welch's test over seeds that need not be the same, McNemar's on the examples with one seed each."""
    first, second = pair((14, 5), (20, 8), (9, 6))
    later = {seed + 7: verdicts for seed, verdicts in second.items()}
    oracle = ttest_ind([v.mean() for v in first.values()], [v.mean() for v in later.values()], equal_var=False)
    assert alone(means_test, first, later) == pytest.approx((24 / 480, oracle.pvalue))
    one, other = pair((14, 5))
    assert alone(means_test, one, {3: other[0]}) == pytest.approx((9 / 160, binomtest(14, 19).pvalue))
    shorter = alone(means_test, one, {3: other[0][:100]})
    assert shorter[0] == pytest.approx(one[0][:100].mean() - other[0][:100].mean())
    assert means_test([first], [{0: second[0]}]) is None
    assert means_test([first], [{}]) is None


def alone(test, first, second):
    """Difference and p-value of one method and another."""
    return tuple(each.item() for each in test([first], [second]))


def test_the_better_of_each_pair_has_the_row_and_what_cannot_be_tested_is_no_pair():
    one, other = pair((30, 5))
    assert better([other, one], means_test).tolist() == [[False, False], [True, False]]
    assert better([one, other], means_test).tolist() == [[False, True], [False, False]]
    found = better([one, other, {}, *pair((30, 5), (31, 5))], means_test)
    assert list(zip(*np.nonzero(found), strict=True)) == [(0, 1), (3, 4)]
    assert better([], means_test).shape == (0, 0)


def test_all_pairs_at_once_are_what_each_pair_is_alone():
    """Methods with one seed and with several, other seeds, fewer examples or none: Holm over every pair's p-value."""
    random = np.random.default_rng(0)
    shapes = [{0: 160}, {0: 100}, {1: 160}, {0: 160, 1: 160}, {0: 160, 1: 120}, {1: 160, 2: 160, 3: 160}, {}]
    accuracy = random.uniform(0.3, 0.9, size=40)
    methods = [
        {seed: random.random(n) < share for seed, n in shapes[place % len(shapes)].items()}
        for place, share in enumerate(accuracy)
    ]
    for test in (paired_test, means_test):
        pairs = [(i, j, test([methods[i]], [methods[j]])) for i, j in combinations(range(40), 2)]
        pairs = [(i, j, difference.item(), p.item()) for i, j, tested in pairs if tested for difference, p in [tested]]
        adjusted = multipletests([p for *_, p in pairs], method="holm")[1]
        expected = {(i, j) if d > 0 else (j, i) for (i, j, d, _), p in zip(pairs, adjusted, strict=True) if p < 0.05}
        found = set(zip(*map(np.ndarray.tolist, np.nonzero(better(methods, test))), strict=True))
        assert found == expected
        assert 50 < len(found) < len(pairs) - 50
