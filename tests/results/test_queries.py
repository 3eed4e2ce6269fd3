"""What the store answers: the long form, history, and their text forms."""

import csv
import io
import json
import sys
from itertools import pairwise

import pandas as pd
import pytest
from results_jobs import (
    by_attack,
    jobs,
    train_spec,
    write_diagnose,
    write_evaluate,
    write_failure,
    write_train,
    write_workspace,
)
from scipy.stats import binomtest
from sqlalchemy import select

from results.errors import HarnessError
from results.labels import ball_of, threat_label
from results.lookups import papers
from results.queries import history, long_form
from results.schema import StoredEvaluation
from results.text import to_csv, to_json, to_parquet

FIRST_COLUMNS = "method,dataset,model,seed,checkpoint,attack,accuracy,ci_low,ci_high,examples"


PAPERS = {"a": "trades", "b": "trades", "c": "mart"}


def add_to_result(directory, **values):
    file = directory / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_a_row_holds_the_accuracy_and_its_wilson_interval(store, tmp_path):
    """3 of 4 correct; SciPy is the oracle for the interval."""
    said = {"seconds": 2.5, "forwards": 80}
    store.ingest(write_evaluate(tmp_path, "x", [1, 1, 0, 1], params={"restarts": 2}, spec=train_spec(seed=7), **said))
    row = by_attack(long_form(store))["pgd-20"]
    interval = binomtest(3, 4).proportion_ci(method="wilson")
    assert (row["accuracy"], row["examples"], row["seed"], row["checkpoint"]) == (0.75, 4, 7, "best")
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((interval.low, interval.high))
    assert (row["method"], row["dataset"], row["model"], row["threat"]) == ("trades", "digits", "small-cnn", "Linf 0.2")
    assert (row["seconds"], row["forwards"]) == (2.5, 80)
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
        store.ingest(write_evaluate(tmp_path, name, [1, 0], train=name, spec=spec))
    protocols = [long_form(store, evaluate_id=f"evaluate-{name}")["protocol"][0] for name in "abcd"]
    assert protocols[0] == protocols[1]
    assert len(set(protocols)) == 3


def test_rows_come_in_order(store, tmp_path):
    """Methods by name; natural first, then attacks from weak to strong, worst-case last."""
    for method in ("trades", "natural", "mart", "pgd-at"):
        for attack in ("pgd-100", "cw", "natural", "pgd-20"):
            name, spec = f"{method}-{attack}", train_spec(method)
            store.ingest(write_evaluate(tmp_path, name, [1, 0], attack=attack, train=method, spec=spec))
    frame = long_form(store)
    assert list(dict.fromkeys(frame.method)) == ["mart", "natural", "pgd-at", "trades"]
    attacks = ["natural", "pgd-20", "pgd-100", "cw", "worst-case"]
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


def test_what_broke_the_examples_is_counted_in_the_row_and_kept_one_by_one(store, tmp_path):
    details = {"broken_by": {"apgd-ce": [0, 3], "apgd-t": [], "square": [2]}, "lost": 0}
    store.ingest(write_evaluate(tmp_path, "a", [0, 1, 0, 0], attack="autoattack", details=details))
    row = by_attack(long_form(store))["autoattack"]
    assert json.loads(row["broken_by"]) == {"apgd-ce": 2, "apgd-t": 0, "square": 1}
    assert pd.isna(by_attack(long_form(store))["worst-case"]["broken_by"])
    with store.reading() as session:
        assert session.scalars(select(StoredEvaluation)).one().details == details


def test_rows_come_with_their_verdicts_where_they_are_asked_for(store, tmp_path):
    """Each row's own, worst cases among them, and nothing else changes."""
    store.ingest_all(write_workspace(tmp_path / "jobs"))
    store.ingest(write_evaluate(tmp_path, "short", [1, 0, 1], train="0-0", spec=train_spec(), attack="cw"))
    frame = long_form(store, with_verdicts=True)
    assert to_csv(frame.drop(columns="verdicts")) == to_csv(long_form(store))
    for row in frame.to_dict("records"):
        assert len(row["verdicts"]) == row["examples"]
        assert row["verdicts"].mean() == pytest.approx(row["accuracy"])


def test_rows_come_with_all_their_findings_where_they_are_asked_for(store, tmp_path):
    """Each in full; without a diagnosis there is nothing, not an empty list."""
    for train in ("a", "b"):
        store.ingest(write_evaluate(tmp_path, train, [1, 0], train=train))
    store.ingest(write_diagnose(tmp_path, "a", "suspect", *"12345", evaluations=["a"]))
    found = {row["train_id"]: row for row in long_form(store, with_findings=True).to_dict("records")}
    assert [finding["message"] for finding in found["train-a"]["diagnosed"]] == ["1", "2", "3", "4", "5"]
    assert found["train-a"]["diagnosed"][0]["advice"] == "look"
    assert found["train-b"]["diagnosed"] is None
    assert "diagnosed" not in long_form(store)


def test_the_paper_of_a_method_is_that_of_its_latest_training(store, tmp_path):
    older, newer, without = (write_train(tmp_path, name, method) for name, method in PAPERS.items())
    add_to_result(older, finished="2026-01-01T00:00:00Z", paper={"title": "A draft", "url": "", "bibtex": ""})
    add_to_result(newer, paper={"title": "A paper", "url": "https://example.org", "bibtex": "@misc{a}"})
    add_to_result(without, paper=None)
    store.ingest_all(tmp_path)
    assert papers(store) == {"trades": {"title": "A paper", "url": "https://example.org", "bibtex": "@misc{a}"}}


def test_history_has_a_row_an_epoch_and_a_column_a_term(store, tmp_path):
    """Terms that only one method has are missing elsewhere; a failed training has no history."""
    store.ingest(write_train(tmp_path, "a", "trades", epochs=2))
    store.ingest(write_train(tmp_path, "b", "mart", epochs=3))
    path = write_train(tmp_path, "c", "natural", epochs=1) / "history.jsonl"
    path.write_text(path.read_text().replace('"natural"', '"clean"'))
    store.ingest(path.parent)
    store.ingest(write_failure(tmp_path / "train-f", train_spec()))
    frame = history(store)
    assert list(zip(frame.method, frame.epoch, strict=True)) == [
        *(("mart", 1), ("mart", 2), ("mart", 3), ("natural", 1), ("trades", 1), ("trades", 2))
    ]
    assert [*frame.columns[:5]] == ["method", "dataset", "model", "seed", "train_id"]
    assert list(frame.columns[-3:]) == ["term:natural", "term:robust", "term:clean"]
    assert frame[frame.method != "natural"]["term:natural"].tolist() == [1.5, 0.75, 0.5, 1.5, 0.75]
    assert frame["term:clean"].isna().tolist() == [True] * 3 + [False] + [True] * 2
    assert frame.validation_robust.tolist()[-2:] == pytest.approx([0.2, 0.3])
    assert set(history(store, train_id="train-b").method) == {"mart"}
    with pytest.raises(HarnessError, match="no column 'attack'"):
        history(store, attack="fgsm")


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


def test_parquet_reads_back_exactly_with_its_types(store, tmp_path):
    """pyarrow's own reader finds every column's values and kind of number."""
    pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    from pyarrow import parquet

    store.ingest_all(write_workspace(tmp_path / "jobs", trainings=2))
    frame = long_form(store)
    table = parquet.read_table(io.BytesIO(to_parquet(frame)))
    assert table.column_names == list(frame.columns)
    assert table.schema.field("examples").type == "int64"
    assert table.schema.field("accuracy").type == "double"
    assert table.to_pylist() == json.loads(to_json(frame))


def test_without_pyarrow_the_extra_is_named(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(HarnessError, match=r"needs pyarrow, .*: pip install 'robustness-harness\[parquet\]'"):
        to_parquet(long_form(store))


def test_json_is_never_written_with_numbers_that_json_lacks():
    """Missing is null; an infinite value is an error rather than a file that no parser reads."""
    assert json.loads(to_json(pd.DataFrame({"a": [1.5, float("nan")]}))) == [{"a": 1.5}, {"a": None}]
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(pd.DataFrame({"a": [float("inf")]}))


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_threats_are_labelled_as_the_engine_prints_them(norm):
    """The store and ``str(Threat)`` agree at and around whole grey levels, and labels tell radii apart."""
    from harness.api.threat import Threat

    radii = [0.5 / 255, 0.031, 8 / 255, 8.01 / 255, 0.1, 32 / 255, 33 / 255, 0.2, 1.0]
    labels = [threat_label(norm, eps) for eps in radii]
    assert labels == [str(Threat(norm, eps)) for eps in radii]
    assert all(first != second for first, second in pairwise(labels))
    assert [ball_of(label) for label in labels] == [(norm, pytest.approx(eps, rel=1e-3)) for eps in radii]
