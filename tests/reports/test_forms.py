"""The comparison table as Markdown, CSV, LaTeX and in the terminal: what is written is what was measured."""

import csv
import io
import re
import subprocess
import sys

import pandas as pd
import pytest
from reports_example import ATTACKS, MASKED, results, score
from rich.console import Console
from scipy.stats import ttest_1samp

from reports.forms import to_csv, to_latex, to_markdown, to_terminal
from reports.forms.latex import escape
from reports.table import comparison, full


def markdown_cells(text):
    """The pipe table as rows of strings, its header first."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if not row[1].strip().startswith("---")]


def latex_cells(text):
    """The lines between the rules as lists of strings, two for each method."""
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].replace(r"\addlinespace[2pt]", "")
    return [[cell.strip() for cell in line.split("&")] for line in body.split(r"\\")[:-1]]


def bare(text):
    return re.sub(r"\\text(bf|it)\{(.*?)\}|\*+", r"\2", text)


def shown(grid, width, **options):
    console = Console(width=width, file=io.StringIO(), legacy_windows=False, **options)
    console.print(to_terminal(grid))
    return console.file.getvalue()


@pytest.mark.parametrize("checkpoint", ["best", "last"])
def test_markdown_numbers_and_bold_equal_the_table(checkpoint):
    frame = results()
    table = comparison(frame, checkpoint=checkpoint)
    header, *lines = markdown_cells(to_markdown(full(table)))
    assert header == ["method", *table.attacks, *table.differences, "rank", "verdict"]
    for line, row in zip(lines, table.rows, strict=True):
        assert line[0] == row.method
        for text, attack in zip(line[1:], table.attacks, strict=False):
            value, low, high = map(float, re.findall(r"\d+\.\d\d", text))
            assert value == round(100 * score(frame, row.method, attack, checkpoint=checkpoint), 2)
            assert low == pytest.approx(100 * score(frame, row.method, attack, "ci_low", checkpoint), abs=0.0101)
            assert high == pytest.approx(100 * score(frame, row.method, attack, "ci_high", checkpoint), abs=0.0101)
            assert text.startswith("**") == row.cells[attack].best
            assert bool(re.match(r"\*\d", text)) == row.cells[attack].inflated
        assert line[-2] == str(row.rank)
        differences = line[1 + len(table.attacks) : -2]
        assert [float(text) for text in differences] == [
            pytest.approx(100 * row.differences[name], abs=0.0051) for name in table.differences
        ]


def test_latex_numbers_and_bold_equal_the_table():
    table = comparison(results(), checkpoint="last")
    lines = latex_cells(to_latex(full(table)))
    for row, values, spreads in zip(table.rows, lines[::2], lines[1::2], strict=True):
        assert bare(values[0]) == row.method
        assert row.verdict in spreads[0]
        for attack, value, spread in zip(table.attacks, values[1:], spreads[1:], strict=False):
            cell = row.cells[attack]
            assert float(bare(value)) == round(100 * cell.accuracy, 2)
            assert value.startswith(r"\textbf") == cell.best
            assert value.startswith(r"\textit") == cell.inflated
            low, high = map(float, spread.removeprefix(r"\scriptsize ").split("--"))
            assert low <= round(100 * cell.low, 6) < low + 0.1
            assert high - 0.1 < round(100 * cell.high, 6) <= high
        assert values[-1] == str(row.rank)
        gaps = [float(text.strip("$")) for text in values[1 + len(table.attacks) : -1]]
        assert gaps == [pytest.approx(100 * row.differences[name], abs=0.0051) for name in table.differences]


def test_csv_reads_back_exactly():
    frame = results()
    table = comparison(frame)
    for row, line in zip(table.rows, csv.DictReader(io.StringIO(to_csv(full(table)))), strict=True):
        assert (line["method"], line["seeds"], line["verdict"], line["why"]) == (row.method, "0", row.verdict, row.why)
        for attack in table.attacks:
            assert float(line[attack]) == score(frame, row.method, attack)
            assert float(line[f"{attack} low"]) == score(frame, row.method, attack, "ci_low")
            assert float(line[f"{attack} high"]) == score(frame, row.method, attack, "ci_high")
            assert (line[f"{attack} std"], line[f"{attack} examples"]) == ("", "200")
        assert float(line["AA - worst"]) == row.differences["AA - worst"]
        assert line["rank"] == str(row.rank)
        assert line["best"].split() == [attack for attack in table.attacks if row.cells[attack].best]


def test_csv_of_several_seeds_has_the_t_interval_of_their_mean():
    frame = results(seeds=(0, 1, 2))
    table = comparison(frame)
    for row, line in zip(table.rows, csv.DictReader(io.StringIO(to_csv(full(table)))), strict=True):
        where = (frame["method"] == row.method) & (frame["attack"] == "cw") & (frame["checkpoint"] == "best")
        own = frame[where]["accuracy"]
        ends = tuple(ttest_1samp(own, 0).confidence_interval(0.95))
        assert (float(line["cw low"]), float(line["cw high"])) == pytest.approx(
            (max(ends[0], 0.0), min(ends[1], 1.0)), abs=1e-12
        )
        assert float(line["cw std"]) == pytest.approx(own.std(ddof=1), abs=1e-12)


@pytest.mark.parametrize("form", [to_markdown, to_latex], ids=["markdown", "latex"])
def test_seeds_are_written_as_mean_and_deviation_and_said_so(form):
    table = comparison(results(seeds=(0, 1, 2)))
    text = form(full(table))
    cell = table.rows[0].cells["natural"]
    sign = r"$\pm$" if form is to_latex else "± "
    assert f"{100 * cell.accuracy:.2f}" in text
    assert f"{sign}{100 * cell.std:.2f}" in text
    assert "mean and sample standard deviation over n = 3 seeds" in text
    assert "seeds 0, 1, 2." in text
    assert "Wilson" not in text


@pytest.mark.parametrize("form", [to_markdown, to_latex, lambda grid: shown(grid, 200)])
def test_every_form_says_what_was_measured_and_why_a_method_is_masked(form):
    text = form(full(comparison(results())))
    notes = ["200 test examples", "Linf 0.2", "best checkpoint", "seed 0", "Wilson", "Bold: best in its column"]
    for note in (*notes, MASKED, "Italic"):
        assert note in text
    honest = form(full(comparison(results(["pgd-at", "trades"]))))
    assert MASKED not in honest
    assert "Italic" not in honest


@pytest.mark.parametrize(("seeds", "ends"), [((0,), "[48.30, 48.70]"), ((0, 1), "[48.35, 48.70]")])
def test_a_number_that_rests_on_a_sample_shows_what_the_whole_attack_would_leave(seeds, ends):
    """Over seeds the lower ends are averaged: 48.30 and 48.40."""
    frame = results(["trades"], ["natural", "autoattack-fast"], seeds=seeds, examples=1000).assign(accuracy_low=None)
    fast = frame["attack"] == "autoattack-fast"
    frame.loc[fast, "accuracy"] = 0.487
    frame.loc[fast, "accuracy_low"] = 0.483 + 0.001 * frame["seed"]
    table = full(comparison(frame))
    text = markdown_cells(to_markdown(table))[1][2].replace("\\", "")
    assert text.startswith("**48.70**")
    assert text.endswith(ends)
    short = ends if len(seeds) > 1 else "[48.3, 48.7]"
    assert short in to_latex(table)
    assert short in shown(table, 100)
    (line,) = csv.DictReader(io.StringIO(to_csv(table)))
    assert float(line["autoattack-fast at least"]) == pytest.approx(float(ends[1:6]) / 100)
    assert line["natural at least"] == ""
    assert "rests on a random sample" in to_markdown(table)
    assert "rests on a random sample" not in to_markdown(full(comparison(results(["trades"]))))


def test_rows_with_fewer_seeds_say_how_many():
    table = comparison(pd.concat([results(["trades"], seeds=(0, 1)), results(["pgd-at"])]))
    assert [line[0] for line in markdown_cells(to_markdown(full(table)))[1:]] == ["pgd-at (n = 1)", "trades (n = 2)"]


def test_without_verdicts_on_the_examples_there_is_no_rank():
    table = comparison(results(["pgd-at", "trades"]).drop(columns="verdicts"))
    for form in (to_markdown, to_latex, lambda grid: shown(grid, 100)):
        assert "rank" not in form(full(table))
    assert [line["rank"] for line in csv.DictReader(io.StringIO(to_csv(full(table))))] == ["", ""]


def test_a_missing_evaluation_leaves_a_dash_and_no_rank():
    frame = results(["pgd-at", "trades", "mart"])
    table = comparison(frame[(frame["method"] != "trades") | (frame["attack"] != "cw")])
    place = 1 + table.attacks.index("cw")
    assert [line[place] for line in markdown_cells(to_markdown(full(table)))[1:]][1] == "-"
    assert latex_cells(to_latex(full(table)))[2][place] == "--"
    assert markdown_cells(to_markdown(full(table)))[2][-2] == "-"
    assert latex_cells(to_latex(full(table)))[2][-1] == "--"
    assert "-" in shown(full(table), 100)


def test_special_characters_are_escaped():
    """The example's reason is ``50 % of pgd_20 & more | [see AutoAttack]``."""
    table = comparison(results(["mart"]))
    assert r"50 \% of pgd\_20 \& more \textbar{} [see AutoAttack]" in to_latex(full(table))
    assert r"50 % of pgd\_20 & more \| \[see AutoAttack\]" in to_markdown(full(table))
    assert "50 % of pgd_20 & more | [see AutoAttack]" in shown(full(table), 100)
    assert escape("a_b % & # $ { } ~ ^ \\ < > − ≤ é 猫") == (
        r"a\_b \% \& \# \$ \{ \} \textasciitilde{} \textasciicircum{} \textbackslash{} "
        r"\textless{} \textgreater{} $-$ $\leq$ é ?"
    )


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_terminal_shows_every_number_whole_at_usual_widths(width):
    """Eight attack columns: no line is longer than the width and no accuracy is cut; one block of rows."""
    table = comparison(results())
    assert len(table.attacks) == 8
    text = shown(full(table), width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    for row in table.rows:
        (line,) = (line for line in lines if line.split()[:1] == [row.method] and len(line.split()) > 2)
        *accuracies, gap, rank = line.split()[1:]
        assert accuracies == [f"{100 * row.cells[attack].accuracy:.2f}" for attack in table.attacks]
        assert float(gap) == pytest.approx(100 * row.differences["AA - worst"], abs=0.0051)
        assert rank == str(row.rank)


def test_the_terminal_goes_on_in_a_second_block_where_the_width_is_too_small():
    many = (*ATTACKS, *(f"pgd-{steps}" for steps in (7, 10, 30, 40, 50)))
    table = comparison(results(["pgd-at"], attacks=many))
    lines = shown(full(table), 80).splitlines()
    blocks = [line.split()[1:] for line in lines if line.startswith("pgd-at")]
    assert len(blocks) == 2
    assert [number for block in blocks for number in block][:-1] == [
        f"{100 * table.rows[0].cells[attack].accuracy:.2f}" for attack in table.attacks
    ]


def test_the_terminal_shows_the_best_of_many_rows_and_their_footnotes_alone():
    frame = results([f"m{number:02d}" for number in range(50)])
    frame["verdict"], frame["why"] = "suspect", "because of " + frame["method"]
    table = comparison(frame)
    best = sorted(table.rows, key=lambda row: -row.cells["worst-case"].accuracy)[:40]
    text = shown(full(table), 120)
    assert re.findall(r"^m\d\d", text, re.M) == sorted(row.method for row in best)
    assert re.findall(r"because of (m\d\d)", text) == sorted(row.method for row in best)
    assert "40 of 50 rows, the best by worst case" in text
    assert "Shown:" not in shown(full(comparison(frame[frame["method"] < "m40"])), 120)


def test_the_terminal_prints_exactly_the_best_values_bold():
    table = comparison(results())
    coloured = shown(full(table), 120, force_terminal=True, color_system="standard", no_color=False)
    bold = re.findall(r"\x1b\[1m(\d+\.\d\d)\x1b", coloured)
    best = [f"{100 * cell.accuracy:.2f}" for row in table.rows for cell in _in_order(table, row) if cell.best]
    assert bold == best


def _in_order(table, row):
    return [row.cells[attack] for attack in table.attacks]


def test_reports_never_import_torch():
    """``harness report`` stays quick."""
    code = "import reports.choice, reports.figures, reports.write, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
