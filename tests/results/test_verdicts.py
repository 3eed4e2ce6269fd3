"""Example by example: what the store keeps, its worst cases, and the verdicts on whole evaluations."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_jobs import LINF, by_attack, write_diagnose, write_evaluate

from results.queries import long_form
from results.verdicts import pack, unpack


def worst_cases(store, **equal):
    """(over which attacks, accuracy, examples) of each worst-case row."""
    rows = long_form(store, attack="worst-case", **equal).to_dict("records")
    return [(json.loads(row["attack_params"])["over"], row["accuracy"], row["examples"]) for row in rows]


@given(st.lists(st.booleans(), max_size=40))
def test_packed_verdicts_come_back_and_take_a_bit_each(values):
    """For every length, divisible by 8 or not, none included."""
    bits = np.array(values, dtype=bool)
    assert len(pack(bits)) == -(-len(values) // 8)
    back = unpack(pack(bits), len(values))
    assert back.dtype == bool
    assert back.tolist() == values


def verdicts(store, **equal):
    """Those of the one row that the columns choose."""
    (row,) = long_form(store, with_verdicts=True, **equal).to_dict("records")
    return row["verdicts"]


@pytest.mark.parametrize("n", [1, 7, 8, 9, 1797])
def test_verdicts_survive_the_store(store, tmp_path, n):
    """Example by example, in order, for numbers of examples that fill no whole byte too."""
    expected = np.random.default_rng(n).random(n) < 0.5
    store.ingest(write_evaluate(tmp_path, "a", expected))
    stored = verdicts(store, attack="pgd-20")
    assert stored.dtype == bool
    assert stored.tolist() == expected.tolist()


def test_worst_case_is_the_intersection_of_the_verdicts(store, tmp_path):
    """By hand: of five examples, one is naturally wrong, fgsm breaks one more and pgd a third."""
    for attack, bits in {"natural": [0, 1, 1, 1, 1], "fgsm": [0, 0, 1, 1, 1], "pgd-20": [1, 1, 0, 1, 1]}.items():
        store.ingest(write_evaluate(tmp_path, attack, bits, attack=attack, seconds=2.0, forwards=10))
    assert worst_cases(store) == [(["natural", "fgsm", "pgd-20"], 2 / 5, 5)]
    row = by_attack(long_form(store))["worst-case"]
    assert (row["seconds"], row["forwards"]) == (6.0, 30)
    assert pd.isna(row["evaluate_id"])
    assert verdicts(store, attack="worst-case").tolist() == [False, False, False, True, True]


def test_what_was_spared_bounds_its_accuracy_and_the_worst_case_until_all_of_autoattack_was_run(store, tmp_path):
    """Of five that stand the last three were spared, and two of them may fall; one fell to pgd in any case."""
    fast = {"attack": "autoattack-fast", "correct_low": 3, "backwards": 7, "details": {"spared": [2, 3, 4]}}
    store.ingest(write_evaluate(tmp_path, "f", [1, 1, 1, 1, 1, 0], **fast))
    store.ingest(write_evaluate(tmp_path, "p", [1, 1, 0, 1, 1, 1], backwards=5))
    rows = by_attack(long_form(store))
    assert (rows["autoattack-fast"]["accuracy"], rows["autoattack-fast"]["accuracy_low"]) == (5 / 6, 3 / 6)
    assert (rows["worst-case"]["accuracy"], rows["worst-case"]["accuracy_low"]) == (4 / 6, 2 / 6)
    assert rows["worst-case"]["backwards"] == 12
    assert pd.isna(rows["pgd-20"]["accuracy_low"])
    store.ingest(write_evaluate(tmp_path, "a", [1, 1, 1, 1, 0, 0], attack="autoattack"))
    rows = by_attack(long_form(store))
    assert pd.isna(rows["worst-case"]["accuracy_low"])
    assert pd.isna(rows["worst-case"]["backwards"])  # of one of them it is not known
    assert rows["autoattack-fast"]["accuracy_low"] == 3 / 6


def test_worst_case_over_different_numbers_of_examples_is_one_row_a_prefix(store, tmp_path):
    """A quick trial on three examples adds a row of its own and leaves the row over all five as it was."""
    store.ingest(write_evaluate(tmp_path, "n", [1, 1, 1, 0, 1], attack="natural"))
    store.ingest(write_evaluate(tmp_path, "p", [0, 1, 1, 1, 1], attack="pgd-20"))
    store.ingest(write_evaluate(tmp_path, "c", [1, 0, 1], attack="cw"))
    assert worst_cases(store) == [(["natural", "pgd-20", "cw"], 1 / 3, 3), (["natural", "pgd-20"], 3 / 5, 5)]
    assert verdicts(store, attack="worst-case", examples=3).tolist() == [False, False, True]


def test_natural_accuracy_alone_makes_no_worst_case(store, tmp_path):
    """A model nobody attacked has withstood nothing."""
    store.ingest(write_evaluate(tmp_path, "n", [1, 1], attack="natural"))
    assert list(long_form(store).attack) == ["natural"]


def test_worst_cases_do_not_mix_trainings_checkpoints_or_threats(store, tmp_path):
    """Each alone keeps its own example; any mixture would lose both."""
    l2 = {"norm": "L2", "eps": 1.0, "step_size": 0.25}
    settings = [("a", "best", LINF), ("b", "best", LINF), ("a", "last", LINF), ("a", "best", l2)]
    settings.append(("a", "best", {**LINF, "eps": 0.1}))
    for number, (train, checkpoint, threat) in enumerate(settings):
        bits = np.arange(5) == number
        store.ingest(write_evaluate(tmp_path, f"{number}", bits, train=train, checkpoint=checkpoint, threat=threat))
    assert [accuracy for _, accuracy, _ in worst_cases(store)] == [1 / 5] * 5
    assert set(long_form(store).threat) == {"Linf 0.2", "Linf 0.1", "L2 1"}
    assert verdicts(store, attack="pgd-20", threat="L2 1").tolist() == [False, False, False, True, False]


def test_an_experiments_own_evaluations_make_its_worst_case(store, tmp_path):
    """Chosen by id, as a run reports what it ran: others in the store do not count."""
    store.ingest(write_evaluate(tmp_path, "p", [0, 1, 1, 1], attack="pgd-20"))
    store.ingest(write_evaluate(tmp_path, "c", [1, 0, 0, 1], attack="cw"))
    frame = long_form(store, evaluations=["evaluate-p"])
    assert list(frame.attack) == ["pgd-20", "worst-case"]
    assert list(frame.accuracy) == [0.75, 0.75]


def trust(store, **equal):
    frame = long_form(store, **equal)
    (said,) = set(zip(frame.verdict, frame.why, strict=True))
    return said


def test_a_verdict_is_shared_by_all_rows_of_one_checkpoint_and_threat_and_by_no_other(store, tmp_path):
    """The rows of the worst case too; what nobody diagnosed is never trusted."""
    for number, (checkpoint, threat) in enumerate([("best", LINF), ("last", LINF), ("best", {**LINF, "eps": 0.1})]):
        for attack in ("natural", "fgsm"):
            name = f"{attack}-{number}"
            store.ingest(write_evaluate(tmp_path, name, [1, 0], attack=attack, checkpoint=checkpoint, threat=threat))
    lies = ("gradients lie", "loss rises", "noise wins", "steps help", "starts help")
    store.ingest(write_diagnose(tmp_path, "m", "masked", *lies, evaluations=["fgsm-0"]))
    store.ingest(write_diagnose(tmp_path, "t", "trusted", checkpoint="last", evaluations=["fgsm-1"]))
    assert len(long_form(store, checkpoint="best", threat="Linf 0.2")) == 3
    assert trust(store, checkpoint="best", threat="Linf 0.2") == (
        "masked",
        "gradients lie (seen); loss rises (seen); noise wins (seen); and 2 more",
    )
    assert set(long_form(store, checkpoint="best", threat="Linf 0.2").findings) == {
        "code-0,code-1,code-2,code-3,code-4"
    }
    assert trust(store, checkpoint="last") == ("trusted", "")
    assert trust(store, threat="Linf 0.1")[0] == "suspect"
    assert "not diagnosed" in trust(store, threat="Linf 0.1")[1]


def test_the_verdict_that_judged_most_counts_then_the_latest(store, tmp_path):
    """A later run with fewer attacks takes nothing back; the same judgement made again does."""
    for attack in ("natural", "autoattack", "adaptive"):
        store.ingest(write_evaluate(tmp_path, attack, [1, 0], attack=attack))
    everything = ["natural", "autoattack", "adaptive"]
    times = {"finished": "2026-05-01T00:00:00Z"}
    store.ingest(write_diagnose(tmp_path, "1", "masked", "gap", evaluations=everything))
    store.ingest(write_diagnose(tmp_path, "2", "suspect", "weak", evaluations=["natural"], **times))
    assert trust(store) == ("masked", "gap (seen)")
    store.ingest(write_diagnose(tmp_path, "3", "trusted", evaluations=everything, **times))
    assert trust(store) == ("trusted", "")
