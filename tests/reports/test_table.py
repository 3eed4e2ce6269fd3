"""What the comparison table says: its cells, its best values, its order, its verdicts."""

import numpy as np
import pandas as pd
import pytest
from reports_example import ATTACKS, MASKED, METHODS, SUSPECT, results, score
from scipy.stats import binomtest, ttest_1samp

from harness.api.method import methods
from harness.plugins import load_plugins
from reports.methods import BUILT_IN, ordered_methods
from reports.table import comparison, comparisons, full
from results.errors import HarnessError
from results.names import ordered_attacks

ORDER = ["natural", "pgd-at", "trades", "mart", "pgd-at-ancra", "trades-ancra", "mart-ancra"]
COLUMNS = ["natural", "fgsm", "pgd-20", "pgd-100", "cw", "autoattack", "adaptive", "worst-case"]


def row(table, method):
    return next(each for each in table.rows if each.method == method)


def with_scores(frame, **accuracies):
    """The frame with other accuracies at the best checkpoint; keys are methods, values dicts by attack."""
    frame = frame.copy()
    for method, by_attack in accuracies.items():
        for attack, accuracy in by_attack.items():
            where = (frame["method"] == method) & (frame["attack"] == attack) & (frame["checkpoint"] == "best")
            assert where.sum() == 1
            frame.loc[where, "accuracy"] = accuracy
    return frame


def test_methods_stand_in_the_order_of_the_papers_and_attacks_from_weak_to_strong():
    """Whatever the order of the frame: bases, ANCRA over them, ablations base by base, then the unknown."""
    table = comparison(results())
    assert [each.method for each in table.rows] == ORDER
    assert list(table.attacks) == COLUMNS
    names = ["zeta", "mart-ra", "pgd-at-ra", "mart-anc", "eta", "mart-ancra", "pgd-at-anc", "natural"]
    ablations = ["pgd-at-anc", "pgd-at-ra", "mart-anc", "mart-ra"]
    assert ordered_methods(names) == ["natural", "mart-ancra", *ablations, "zeta", "eta"]
    assert ordered_attacks(["square", "worst-case", "pgd-10", "pgd-9", "fgsm"]) == [
        "fgsm",
        "pgd-9",
        "pgd-10",
        "square",
        "worst-case",
    ]


def test_every_built_in_method_has_its_place_and_colour_and_nothing_else_has():
    """The one list beside the registry: no report may import a method."""
    load_plugins()
    built_in = [name for name, method in methods.items() if method.__module__.startswith("methods.")]
    assert list(BUILT_IN) == built_in
    assert len(set(BUILT_IN.values())) == len(BUILT_IN)


def test_every_cell_holds_the_accuracy_interval_and_examples_of_its_row_in_the_frame():
    frame = results()
    for table in comparisons(frame):
        assert len(table.rows) * len(table.attacks) == len(METHODS) * (len(ATTACKS) + 1)
        for each in table.rows:
            for attack, cell in each.cells.items():
                expected = [
                    score(frame, each.method, attack, column, table.checkpoint)
                    for column in ("accuracy", "ci_low", "ci_high", "examples")
                ]
                assert [cell.accuracy, cell.low, cell.high, cell.examples] == expected
                assert cell.std is None


def test_several_seeds_become_mean_sample_standard_deviation_and_t_interval():
    frame = results(seeds=(0, 1, 2))
    for each in comparison(frame).rows:
        assert each.seeds == (0, 1, 2)
        for attack, cell in each.cells.items():
            chosen = (frame["method"] == each.method) & (frame["attack"] == attack) & (frame["checkpoint"] == "best")
            own = frame[chosen]["accuracy"]
            assert len(own) == 3
            assert cell.accuracy == pytest.approx(np.mean(own), abs=1e-12)
            assert cell.std == pytest.approx(np.std(own, ddof=1), abs=1e-12)
            low, high = ttest_1samp(own, 0).confidence_interval(0.95) if own.nunique() > 1 else (None, None)
            assert low is None or (cell.low, cell.high) == pytest.approx((max(low, 0), min(high, 1)), abs=1e-12)
            assert cell.low < cell.accuracy < cell.high or cell.accuracy in (0, 1)


def test_best_is_the_highest_of_its_column_as_printed_and_ties_share_it():
    """70.004 and 70.001 % print alike, so both are best; 69.99 % is not."""
    frame = with_scores(
        results(["pgd-at", "trades", "mart"]),
        **{"pgd-at": {"cw": 0.70004}, "trades": {"cw": 0.70001}, "mart": {"cw": 0.6999}},
    )
    table = comparison(frame)
    assert [each.cells["cw"].best for each in table.rows] == [True, True, False]
    for attack in table.attacks:
        printed = [round(100 * each.cells[attack].accuracy, 2) for each in table.rows]
        assert [each.cells[attack].best for each in table.rows] == [value == max(printed) for value in printed]


def test_a_masked_method_is_best_only_where_its_masking_deceives_nobody():
    """Its natural and adaptive accuracies and a worst case with an adaptive attack count; nothing else does."""
    frame = results(["pgd-at", "pgd-at-ancra"])
    frame.loc[frame["method"] == "pgd-at-ancra", "accuracy"] = 1.0
    masked = row(comparison(frame), "pgd-at-ancra").cells
    assert {attack for attack, cell in masked.items() if cell.best} == {"natural", "adaptive", "worst-case"}
    assert {attack for attack, cell in masked.items() if cell.inflated} == set(COLUMNS[1:6])
    honest = row(comparison(frame), "pgd-at").cells
    assert {attack for attack, cell in honest.items() if cell.best} == set(COLUMNS[1:6])
    blind = row(comparison(frame[frame["attack"] != "adaptive"]), "pgd-at-ancra").cells
    assert {attack for attack, cell in blind.items() if cell.best} == {"natural"}


def test_each_masked_or_suspect_method_has_a_footnote_and_equal_reasons_share_one():
    table = comparison(results())
    grid = full(table)
    assert grid.footnotes == {"1": SUSPECT, "2": MASKED}
    marks = {line.name.text: line.verdict.mark for line in grid.lines}
    assert marks == dict.fromkeys(ORDER, "") | {"mart": "1"} | {m: "2" for m in ORDER if "ancra" in m}


def test_the_worst_verdict_of_the_seeds_counts_and_names_them():
    frame = results(["pgd-at"], seeds=(0, 1, 2))
    frame.loc[frame["seed"] == 1, ["verdict", "why"]] = ["suspect", "a doubt"]
    frame.loc[frame["seed"] == 2, ["verdict", "why"]] = ["masked", "a reason\nin two lines"]
    (only,) = comparison(frame).rows
    assert (only.verdict, only.why) == ("masked", "seed 2: a reason in two lines")


def test_of_several_seeds_the_first_tells_why_and_the_others_follow_suit():
    frame = results(["pgd-at-ancra"], seeds=(0, 1, 2, 3))
    for seed, why in enumerate(["a gap of 9", "a gap of 8", "a gap of 9", "a gap of 7"]):
        frame.loc[frame["seed"] == seed, "why"] = why
    assert comparison(frame).rows[0].why == "seed 0, 2: a gap of 9; alike seed 1, 3"


def test_without_verdicts_nothing_is_marked():
    table = comparison(results().drop(columns=["verdict", "why"]))
    assert not full(table).footnotes
    assert {each.verdict for each in table.rows} == {""}
    assert not any(cell.inflated for each in table.rows for cell in each.cells.values())


def test_differences_are_autoattack_minus_worst_case_and_best_minus_last_worst_case():
    frame = results()
    best, last = comparisons(frame)
    assert best.differences == ("AA - worst",)
    assert last.differences == ("AA - worst", "best - last")
    assert any("overestimation by AutoAttack" in note for note in full(best).notes)
    for each in best.rows:
        gap = score(frame, each.method, "autoattack") - score(frame, each.method, "worst-case")
        assert each.differences["AA - worst"] == pytest.approx(gap, abs=1e-12)
    for each in last.rows:
        lost = score(frame, each.method, "worst-case") - score(frame, each.method, "worst-case", checkpoint="last")
        assert each.differences["best - last"] == pytest.approx(lost, abs=1e-12)


def test_differences_compare_the_same_examples_only():
    frame = results()
    frame.loc[frame["attack"] == "autoattack", "examples"] = 300
    assert comparison(frame).differences == ()


def test_each_data_set_is_a_table_for_each_checkpoint_best_first():
    frame = pd.concat([results(dataset="digits"), results(dataset="mnist", draw=1)])
    found = [(table.dataset, table.checkpoint) for table in comparisons(frame)]
    assert found == [("digits", "best"), ("digits", "last"), ("mnist", "best"), ("mnist", "last")]
    with pytest.raises(HarnessError, match=r"compares one setting, got 2: digits, small-cnn, Linf 0\.2; mnist"):
        comparison(frame)
    with pytest.raises(HarnessError, match="no results for checkpoint 'final'; there are some for best, last"):
        comparison(results(), checkpoint="final")


@pytest.mark.parametrize("seed", [0, 1])
def test_two_protocols_are_two_rows_not_two_seeds(seed):
    """A mean over them would mean nothing, whether their seeds are the same or not."""
    first, second = results(["pgd-at", "trades"]), results(["trades"], seeds=(seed,), draw=3)
    second = second.assign(protocol="4fee9c", train_id="train-4fee9c01d2")
    table = comparison(pd.concat([first, second]))
    assert [each.method for each in table.rows] == ["pgd-at", "trades @a1b2c3", "trades @4fee9c"]
    assert row(table, "trades @4fee9c").cells["cw"].accuracy == score(second, "trades", "cw")


def test_the_longest_evaluation_counts_and_the_worst_case_is_the_one_that_all_attacks_share():
    """Natural on 1000 examples, the rest on 200: the worst case over 1000 would be the natural accuracy alone."""
    frame = results(["trades"])
    longer = frame[frame["attack"].isin(["natural", "worst-case"])].assign(examples=1000, accuracy=0.9)
    (only,) = comparison(pd.concat([frame, longer])).rows
    assert (only.cells["natural"].accuracy, only.cells["natural"].examples) == (0.9, 1000)
    assert only.cells["worst-case"].accuracy == score(frame, "trades", "worst-case")


def test_an_empty_frame_says_what_to_run_and_a_foreign_one_what_it_lacks():
    with pytest.raises(HarnessError, match="no results to report yet: run `harness run"):
        comparisons(results().iloc[:0])
    with pytest.raises(HarnessError, match="lack the columns threat, ci_low"):
        comparisons(results().drop(columns=["threat", "ci_low"]))


def test_a_worst_case_over_fewer_attacks_is_neither_best_nor_compared():
    """TRADES under FGSM alone looks best; its last checkpoint, attacked less than its best one, shows no gap."""
    frame = results(["pgd-at", "trades"])
    weak = (frame["method"] == "trades") & ~frame["attack"].isin(["natural", "fgsm", "worst-case"])
    table = comparison(frame[~weak].assign(accuracy=lambda f: f["accuracy"].where(f["method"] != "trades", 0.99)))
    assert [each.cells["worst-case"].best for each in table.rows] == [True, False]
    less = frame[~(weak & (frame["checkpoint"] == "last"))]
    differences = {each.method: each.differences for each in comparison(less, checkpoint="last").rows}
    assert "best - last" in differences["pgd-at"]
    assert "best - last" not in differences["trades"]


def ranked(table):
    return {each.method: each.rank for each in table.rows}


def with_worst_cases(frame, **correct):
    """The frame with the first so many examples right in the worst case at the best checkpoint, by method."""
    frame = frame.copy()
    for method, number in correct.items():
        where = (frame["method"] == method) & (frame["attack"] == "worst-case") & (frame["checkpoint"] == "best")
        frame.loc[where, "verdicts"] = frame.loc[where, "verdicts"].map(lambda bits, n=number: np.arange(len(bits)) < n)
    return frame


def test_ranks_count_the_methods_that_are_significantly_better():
    """Steps of 8 of nested examples: p = 2 / 2^8, times 3 pairs 0.023; a step of 4 is a tie (0.125)."""
    frame = with_worst_cases(results(["natural", "trades", "mart"]), natural=100, trades=108, mart=112)
    assert binomtest(8, 8).pvalue * 3 < 0.05 < binomtest(4, 4).pvalue
    table = comparison(frame)
    assert ranked(table) == {"natural": 3, "trades": 1, "mart": 1}
    assert any(note.startswith("rank: 1 + the number of methods") and "McNemar" in note for note in full(table).notes)


def test_ranks_over_seeds_are_by_the_t_test():
    """Each seed's difference of 8 examples is McNemar's proof; over two seeds that differ widely it is none."""
    frame = results(["trades", "mart"], seeds=(0, 1))
    apart = with_worst_cases(frame, trades=100)
    for seed, correct in {0: 110, 1: 170}.items():
        apart = pd.concat(
            [
                apart[(apart["method"] != "mart") | (apart["seed"] != seed)],
                with_worst_cases(apart[(apart["method"] == "mart") & (apart["seed"] == seed)], mart=correct),
            ]
        )
    table = comparison(apart)
    assert ranked(table) == {"trades": 1, "mart": 1}
    assert any("paired t-tests over seeds" in note and "McNemar" not in note for note in full(table).notes)
    assert ranked(comparison(with_worst_cases(frame, trades=100, mart=160))) == {"trades": 2, "mart": 1}


def test_only_a_worst_case_over_every_attack_that_is_no_illusion_has_a_rank():
    """TRADES was attacked by less than the others; a masked model without an adaptive attack would be flattered."""
    frame = results(["pgd-at", "trades", "mart", "mart-ancra"])
    less = (frame["method"] == "trades") & (frame["attack"] == "cw")
    assert {method for method, rank in ranked(comparison(frame[~less])).items() if rank is None} == {"trades"}
    blind = comparison(frame[frame["attack"] != "adaptive"])
    assert {method for method, rank in ranked(blind).items() if rank is None} == {"mart-ancra"}
    alone = comparison(frame[frame["method"] == "mart"])
    assert ranked(alone) == {"mart": None}
    assert not any(note.startswith("rank") for note in full(alone).notes)
    assert not comparison(frame.drop(columns="verdicts")).ranked


def test_a_table_says_where_its_models_were_trained_elsewhere():
    def notes(radius):
        settings = f'{{"threat.norm": "Linf", "threat.eps": {radius}}}'
        return full(comparison(results(["trades"]).assign(params=settings))).notes

    assert "Trained at Linf 0.1." in notes(0.1)
    assert not any("Trained" in note for note in notes(0.2))


def test_protocols_of_one_method_are_ranked_as_rows_of_their_own():
    first, second = (with_worst_cases(results(["trades"]), trades=correct) for correct in (100, 120))
    table = comparison(pd.concat([first, second.assign(protocol="4fee9c", train_id="train-4fee9c01d2")]))
    assert ranked(table) == {"trades @a1b2c3": 2, "trades @4fee9c": 1}
