"""What the store answers: the long form, worst cases, verdicts, history, and their text forms."""

import csv
import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_jobs import LINF, train_spec, write_diagnose, write_evaluate, write_failure, write_train, write_workspace
from scipy.stats import binomtest
from sqlalchemy import select

from results.errors import HarnessError
from results.labels import threat_label
from results.queries import history, jobs, long_form, to_csv, to_json, verdicts
from results.schema import Evaluation
from results.store import Store
from results.verdicts import pack, unpack

FIRST_COLUMNS = "method,dataset,model,seed,checkpoint,attack,accuracy,ci_low,ci_high,examples"


@pytest.fixture
def store(tmp_path):
    return Store.open(tmp_path / "harness.db")


def by_attack(frame):
    return {row["attack"]: row for row in frame.to_dict("records")}


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


@pytest.mark.parametrize("n", [1, 7, 8, 9, 1797])
def test_verdicts_survive_the_store(store, tmp_path, n):
    """Example by example, in order, for numbers of examples that fill no whole byte too."""
    expected = np.random.default_rng(n).random(n) < 0.5
    store.ingest(write_evaluate(tmp_path, "a", expected))
    stored = verdicts(store, "train-a", "best", "pgd-20")
    assert stored.dtype == bool
    assert stored.tolist() == expected.tolist()


def test_a_row_holds_the_accuracy_and_its_wilson_interval(store, tmp_path):
    """3 of 4 correct; SciPy is the oracle for the interval."""
    said = {"warnings": ["zero gradient", "randomised"], "seconds": 2.5, "forwards": 80}
    store.ingest(write_evaluate(tmp_path, "x", [1, 1, 0, 1], params={"restarts": 2}, spec=train_spec(seed=7), **said))
    row = by_attack(long_form(store))["pgd-20"]
    interval = binomtest(3, 4).proportion_ci(method="wilson")
    assert (row["accuracy"], row["examples"], row["seed"], row["checkpoint"]) == (0.75, 4, 7, "best")
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((interval.low, interval.high))
    assert (row["method"], row["dataset"], row["model"], row["threat"]) == ("trades", "digits", "small-cnn", "Linf 0.2")
    assert (row["seconds"], row["forwards"], row["warnings"]) == (2.5, 80, "zero gradient\nrandomised")
    assert (row["attack_params"], row["train_id"], row["evaluate_id"]) == ('{"restarts": 2}', "train-a", "evaluate-x")


def test_the_columns_are_the_promised_ones_with_or_without_rows(store, tmp_path):
    """Other people's scripts read the first ten by position."""
    assert to_csv(long_form(store)).startswith(FIRST_COLUMNS + ",verdict,")
    assert (history(store).empty, jobs(store).empty, json.loads(to_json(long_form(store)))) == (True, True, [])
    store.ingest_all(write_workspace(tmp_path / "jobs"))
    assert to_csv(long_form(store)).startswith(FIRST_COLUMNS + ",verdict,")


def test_seeds_share_a_protocol_and_nothing_else_does(store, tmp_path):
    """Another seed is the same protocol; another length or hyperparameter is another."""
    longer = {"protocol": {"epochs": 30, "lr": 0.1}}
    other = {"method": {"name": "trades", "params": {"beta": 1.0}}}
    specs = [train_spec(), train_spec(seed=1), train_spec() | longer, train_spec() | other]
    for name, spec in zip("abcd", specs, strict=True):
        store.ingest(write_evaluate(tmp_path, name, [1, 0], spec=spec))
    protocols = [long_form(store, evaluate_id=f"evaluate-{name}")["protocol"][0] for name in "abcd"]
    assert protocols[0] == protocols[1]
    assert len(set(protocols)) == 3


def test_worst_case_is_the_intersection_of_the_verdicts(store, tmp_path):
    """By hand: of five examples, one is naturally wrong, fgsm breaks one more and pgd a third."""
    for attack, bits in {"natural": [0, 1, 1, 1, 1], "fgsm": [0, 0, 1, 1, 1], "pgd-20": [1, 1, 0, 1, 1]}.items():
        store.ingest(write_evaluate(tmp_path, attack, bits, attack=attack, seconds=2.0, forwards=10))
    assert worst_cases(store) == [(["natural", "fgsm", "pgd-20"], 2 / 5, 5)]
    row = by_attack(long_form(store))["worst-case"]
    assert (row["seconds"], row["forwards"], row["warnings"]) == (6.0, 30, "")
    assert pd.isna(row["evaluate_id"])
    assert verdicts(store, "train-a", "best", "worst-case").tolist() == [False, False, False, True, True]


def test_worst_case_over_different_numbers_of_examples_is_one_row_a_prefix(store, tmp_path):
    """A quick trial on three examples adds a row of its own and leaves the row over all five as it was."""
    store.ingest(write_evaluate(tmp_path, "n", [1, 1, 1, 0, 1], attack="natural"))
    store.ingest(write_evaluate(tmp_path, "p", [0, 1, 1, 1, 1], attack="pgd-20"))
    store.ingest(write_evaluate(tmp_path, "c", [1, 0, 1], attack="cw"))
    assert worst_cases(store) == [(["natural", "cw", "pgd-20"], 1 / 3, 3), (["natural", "pgd-20"], 3 / 5, 5)]
    with pytest.raises(HarnessError, match="several evaluations of 'worst-case'"):
        verdicts(store, "train-a", "best", "worst-case")
    assert verdicts(store, "train-a", "best", "worst-case", examples=3).tolist() == [False, False, True]


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
    assert verdicts(store, "train-a", "best", "pgd-20", threat="L2 1").tolist() == [False, False, False, True, False]
    with pytest.raises(HarnessError, match=r"several .*: L2 1 \{\}; Linf 0\.1 \{\}; Linf 0\.2 \{\}\. Name threat"):
        verdicts(store, "train-a", "best", "pgd-20")


def test_verdicts_of_the_longest_evaluation_are_taken(store, tmp_path):
    """A trial on two examples is superseded by the same attack on four."""
    store.ingest(write_evaluate(tmp_path, "short", [1, 1]))
    store.ingest(write_evaluate(tmp_path, "long", [0, 1, 0, 1]))
    assert verdicts(store, "train-a", "best", "pgd-20").tolist() == [False, True, False, True]
    with pytest.raises(HarnessError, match="no evaluation of 'cw' on the 'best' checkpoint of train-a"):
        verdicts(store, "train-a", "best", "cw")


def test_rows_come_in_the_order_asked_for(store, tmp_path):
    """Methods as given, then by name; natural first, pgd-20 before pgd-100, worst-case last."""
    for method in ("trades", "natural", "mart", "pgd-at"):
        for attack in ("pgd-100", "cw", "natural", "pgd-20"):
            name, spec = f"{method}-{attack}", train_spec(method)
            store.ingest(write_evaluate(tmp_path, name, [1, 0], attack=attack, train=method, spec=spec))
    frame = long_form(store, order=["natural", "pgd-at"])
    assert list(dict.fromkeys(frame.method)) == ["natural", "pgd-at", "mart", "trades"]
    assert list(dict.fromkeys(long_form(store).method)) == ["mart", "natural", "pgd-at", "trades"]
    attacks = ["natural", "cw", "pgd-20", "pgd-100", "worst-case"]
    assert list(frame.attack) == attacks * 4


def test_filters_choose_rows_by_value_or_by_several(store, tmp_path):
    """A filter never changes the rows that remain; a misspelt column is an error."""
    store.ingest_all(write_workspace(tmp_path / "jobs"))
    everything = long_form(store)
    for equal in ({"attack": "worst-case"}, {"method": ["trades", "mart"], "checkpoint": "best"}, {"seed": 9}):
        expected = everything
        for name, wanted in equal.items():
            expected = expected[expected[name].isin(wanted if isinstance(wanted, list) else [wanted])]
        assert to_csv(long_form(store, **equal)) == to_csv(expected)
    with pytest.raises(HarnessError, match="no column 'colour': choose by method, dataset"):
        long_form(store, colour="red")


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


def test_what_broke_the_examples_is_counted_in_the_row_and_kept_one_by_one(store, tmp_path):
    details = {"broken_by": {"apgd-ce": [0, 3], "apgd-t": [], "square": [2]}, "lost": 0}
    store.ingest(write_evaluate(tmp_path, "a", [0, 1, 0, 0], attack="autoattack", details=details))
    row = by_attack(long_form(store))["autoattack"]
    assert json.loads(row["broken_by"]) == {"apgd-ce": 2, "apgd-t": 0, "square": 1}
    assert pd.isna(by_attack(long_form(store))["worst-case"]["broken_by"])
    with store.reading() as session:
        assert session.scalars(select(Evaluation)).one().details == details


def test_rows_come_with_their_verdicts_where_they_are_asked_for(store, tmp_path):
    """Each row's own, worst cases among them, and nothing else changes."""
    store.ingest_all(write_workspace(tmp_path / "jobs"))
    store.ingest(write_evaluate(tmp_path, "short", [1, 0, 1], train="0-0", spec=train_spec(), attack="cw"))
    frame = long_form(store, with_verdicts=True)
    assert to_csv(frame.drop(columns="verdicts")) == to_csv(long_form(store))
    for row in frame.to_dict("records"):
        keys = ("train_id", "checkpoint", "attack", "examples")
        assert row["verdicts"].tolist() == verdicts(store, **{key: row[key] for key in keys}).tolist()
        assert row["verdicts"].mean() == pytest.approx(row["accuracy"])


def test_history_has_a_row_an_epoch_and_a_column_a_term(store, tmp_path):
    """Terms that only one method has are missing elsewhere; a failed training has no history."""
    store.ingest(write_train(tmp_path, "a", "trades", epochs=2))
    store.ingest(write_train(tmp_path, "b", "mart", epochs=3))
    path = write_train(tmp_path, "c", "natural", epochs=1) / "history.jsonl"
    path.write_text(path.read_text().replace('"natural"', '"clean"'))
    store.ingest(path.parent)
    store.ingest(write_failure(tmp_path / "train-f", train_spec()))
    frame = history(store, order=["trades"])
    assert list(zip(frame.method, frame.epoch, strict=True)) == [
        *(("trades", 1), ("trades", 2), ("mart", 1), ("mart", 2), ("mart", 3), ("natural", 1))
    ]
    assert [*frame.columns[:5]] == ["method", "dataset", "model", "seed", "train_id"]
    assert list(frame.columns[-3:]) == ["term:natural", "term:robust", "term:clean"]
    assert frame["term:natural"].tolist()[:5] == [1.5, 0.75, 1.5, 0.75, 0.5]
    assert frame["term:clean"].isna().tolist() == [True] * 5 + [False]
    assert frame.validation_robust.tolist()[:2] == pytest.approx([0.2, 0.3])
    assert set(history(store, train_id="train-b").method) == {"mart"}
    with pytest.raises(HarnessError, match="no column 'attack'"):
        history(store, attack="fgsm")


def test_jobs_lists_done_and_failed_in_the_order_they_finished(store, tmp_path):
    """An evaluation says what it attacked, a failure why it failed."""
    store.ingest(write_evaluate(tmp_path, "e", [1, 0], attack="cw", checkpoint="last", finished="2026-02-01T00:00:00Z"))
    store.ingest(write_failure(tmp_path / "train-f", train_spec("mart"), finished="2026-03-01T00:00:00Z"))
    store.ingest(write_train(tmp_path, "a"))
    frame = jobs(store)
    assert list(frame.id) == ["train-a", "evaluate-e", "train-f"]
    assert list(frame.state) == ["done", "done", "failed"]
    assert (frame.attack[1], frame.checkpoint[1], frame.error[2]) == ("cw", "last", "loss is nan")
    assert frame.attack.isna().tolist() == [True, False, True]


def test_text_forms_read_back_exactly(store, tmp_path):
    """Every float of CSV and JSON is the stored one to the last bit; JSON is strict."""
    store.ingest_all(write_workspace(tmp_path / "jobs", trainings=2, examples=97))
    frame = long_form(store)
    cells = list(csv.DictReader(to_csv(frame).splitlines()))
    records = json.loads(to_json(frame), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    for column in ("accuracy", "ci_low", "ci_high", "examples", "seconds"):
        assert [float(row[column]) for row in cells] == frame[column].tolist()
        assert [record[column] for record in records] == frame[column].tolist()
    assert list(records[0]) == list(cells[0]) == list(frame.columns)
    assert [record["evaluate_id"] for record in records if record["attack"] == "worst-case"] == [None, None]
    assert [row["evaluate_id"] for row in cells if row["attack"] == "worst-case"] == ["", ""]


def test_json_is_never_written_with_numbers_that_json_lacks():
    """Missing is null; an infinite value is an error rather than a file that no parser reads."""
    assert json.loads(to_json(pd.DataFrame({"a": [1.5, float("nan")]}))) == [{"a": 1.5}, {"a": None}]
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(pd.DataFrame({"a": [float("inf")]}))


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_threats_are_labelled_as_the_engine_prints_them(norm):
    """The store and ``str(Threat)`` agree at and around whole grey levels, and labels tell radii apart."""
    from harness.threat import Threat

    radii = [0.5 / 255, 0.031, 8 / 255, 8.01 / 255, 0.1, 32 / 255, 33 / 255, 0.2, 1.0]
    labels = [threat_label(norm, eps) for eps in radii]
    assert labels == [str(Threat(norm, eps)) for eps in radii]
    assert all(first != second for first, second in pairwise(labels))
