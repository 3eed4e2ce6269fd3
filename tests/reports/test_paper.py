"""The tables of a paper: what is in their blocks and lines, and what their footnotes say."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from reports_example import MASKED, SUSPECT, epochs, hits, results, score

from reports.choice import Choice, choose, grids
from reports.forms import to_csv

ABLATION = ("pgd-at", "pgd-at-anc", "pgd-at-ra", "pgd-at-ancra")


def paper(frame, history=None, **choice):
    """The grids of the paper style by their slugs."""
    wanted = Choice(style="paper", **choice)
    found = grids(choose(frame, wanted), epochs() if history is None else history, wanted)
    return {grid.slug: grid for grid in found}


def texts(line):
    return [value and f"{value.text} {value.beside}".rstrip() for value in line.values]


def records(grid):
    return list(csv.DictReader(io.StringIO(to_csv(grid))))


def test_accuracy_has_a_block_for_each_setting_and_a_line_for_each_method():
    frame = pd.concat([results(["trades", "pgd-at"]), results(["mart"], dataset="mnist")])
    grid = paper(frame)["paper_accuracy"]
    assert [column.heading for column in grid.columns] == [
        "Natural",
        "FGSM",
        "PGD-20",
        "C&W",
        "AutoAttack",
        "Worst case",
    ]
    shown = {block.title: [line.name.text for line in block.lines] for block in grid.blocks}
    assert shown == {"digits, small-cnn, Linf 0.2": ["PGD-AT", "TRADES"], "mnist, small-cnn, Linf 0.2": ["MART"]}


def test_accuracy_is_mean_and_deviation_over_seeds_and_in_full_in_the_csv():
    frame = results(["trades"], seeds=(0, 1, 2))
    grid = paper(frame)["paper_accuracy"]
    own = frame.query("attack == 'cw' and checkpoint == 'best'")["accuracy"]
    assert texts(grid.lines[0])[3] == f"{100 * np.mean(own):.2f} ± {100 * np.std(own, ddof=1):.2f}"
    (record,) = records(grid)
    assert (record["dataset"], record["method"], record["seeds"]) == ("digits", "trades", "0 1 2")
    assert float(record["cw"]) == pytest.approx(np.mean(own), abs=1e-15)
    assert float(record["cw std"]) == pytest.approx(np.std(own, ddof=1), abs=1e-15)


def test_accuracy_marks_what_the_statistics_support_within_a_block():
    there = hits({"pgd-at": [100], "trades": [140]})
    grid = paper(pd.concat([there, hits({"pgd-at": [199]}, dataset="mnist")]), columns=["cw"])["paper_accuracy"]
    assert [line.values[0].style for line in grid.lines] == ["", "best", ""]
    assert [record["best"] for record in records(grid)] == ["", "cw", ""]
    assert any("of its column and block" in note and "McNemar" in note for note in grid.notes)


def test_whoever_is_not_trusted_has_a_dagger_with_its_footnote():
    grid = paper(results(["pgd-at", "mart", "mart-ancra", "trades-ancra"]))["paper_accuracy"]
    assert grid.footnotes == {"†1": f"suspect: {SUSPECT}", "†2": f"masked: {MASKED}"}
    assert {line.name.text: line.name.mark for line in grid.lines} == {
        "PGD-AT": "",
        "MART": "†1",
        "TRADES-ANCRA": "†2",
        "MART-ANCRA": "†2",
    }
    assert paper(results(["mart"]))["paper_accuracy"].footnotes == {"†": f"suspect: {SUSPECT}"}


def test_an_ablation_has_a_block_for_each_base_whose_halves_were_tried():
    frame = results([*ABLATION, "trades", "trades-ancra", "mart", "mart-ra", "my-at", "my-at-anc"])
    grid = paper(frame)["paper_ablation"]
    shown = {block.title.rpartition(": ")[2]: [line.name.text for line in block.lines] for block in grid.blocks}
    assert shown == {
        "PGD-AT": ["PGD-AT", "+ ANC", "+ RA", "+ ANCRA"],
        "MART": ["MART", "+ RA"],
        "my-at": ["my-at", "+ ANC"],
    }
    assert [record["method"] for record in records(grid)][:4] == list(ABLATION)


def test_an_ablation_marks_the_best_of_its_own_block():
    frame = hits({"pgd-at": [100], "pgd-at-anc": [140], "trades": [180]})
    grid = paper(frame, columns=["cw"])["paper_ablation"]
    assert {line.name.text: line.values[0].style for line in grid.lines} == {"PGD-AT": "", "+ ANC": "best"}


def test_best_and_last_stand_side_by_side_with_what_was_lost():
    frame = results(["trades"])
    grid = paper(frame)["paper_best_last"]
    assert [column.heading for column in grid.columns][-1] == "Worst case, lost"
    best, last = (score(frame, "trades", "worst-case", checkpoint=name) for name in ("best", "last"))
    assert texts(grid.lines[0])[3:] == [f"{100 * best:.2f}", f"{100 * last:.2f}", f"{100 * (best - last):+.2f}"]
    (record,) = records(grid)
    assert float(record["worst-case last low"]) == score(frame, "trades", "worst-case", "ci_low", "last")
    assert float(record["worst-case lost"]) == pytest.approx(best - last, abs=1e-15)


def test_a_loss_is_of_the_same_seeds_examples_and_attacks():
    frame = results(["trades", "pgd-at"], seeds=(0, 1))
    last = (frame["checkpoint"] == "last") & (frame["method"] == "trades")
    for less in (frame[~(last & (frame["seed"] == 1))], frame[~(last & (frame["attack"] == "cw"))]):
        lines = {line.name.text: texts(line) for line in paper(less)["paper_best_last"].lines}
        assert next(text for name, text in lines.items() if name.startswith("TRADES"))[5] is None
        assert next(text for name, text in lines.items() if name.startswith("PGD-AT"))[5] is not None


def test_costs_are_those_of_all_epochs_and_all_evaluations_of_the_checkpoint():
    """12 epochs of 36 s at 1,000 and 2,000 images/s; seven evaluations of 90 s and 20 and 10 passes an example."""
    grid = paper(results(["trades"], seeds=(0, 1)), epochs(["trades"], seeds=(0, 1)))["paper_cost"]
    assert texts(grid.lines[0]) == ["0.120 ± 0.000", "12.0 ± 0.0", "1500 ± 707", "0.175 ± 0.000", "210 ± 0"]
    assert "Trained on a GPU; best checkpoint." in grid.notes
    (record,) = records(grid)
    assert float(record["training hours"]) == pytest.approx(12 * 36 / 3600)
    assert float(record["images/s std"]) == pytest.approx(np.std([1000, 2000], ddof=1))


def test_what_a_training_did_not_measure_is_left_out_of_its_costs():
    history = epochs(["trades"]).assign(peak_memory=None)
    assert texts(paper(results(["trades"]), history)["paper_cost"].lines[0])[:2] == ["0.120", None]
    assert texts(paper(results(["trades"]), history.iloc[:0])["paper_cost"].lines[0])[:3] == [None] * 3
    frame = results(["trades"])
    older = frame.assign(backwards=frame["backwards"].where(frame["attack"] != "fgsm"))
    assert texts(paper(older, history)["paper_cost"].lines[0])[3:] == ["0.175", None]


def test_a_half_finished_run_has_the_tables_that_it_can_have():
    frame = results(["trades"])
    only = frame[(frame["checkpoint"] == "last") & frame["attack"].isin(["natural", "fgsm", "worst-case"])]
    found = paper(only, epochs().iloc[:0])
    assert set(found) == {"paper_accuracy", "paper_cost"}
    assert [column.heading for column in found["paper_accuracy"].columns] == ["Natural", "FGSM", "Worst case"]
    assert any("last checkpoint" in note for note in found["paper_accuracy"].notes)
