"""Names that users give are shown as they are, in every form, and never obeyed."""

import csv
import io
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports_example import HOSTILE, epochs, results
from rich.console import Console

from reports.choice import Choice, choose, grids
from reports.forms import hypertext, latex, to_csv, to_html, to_latex, to_markdown, to_terminal
from reports.forms import text as forms_text
from reports.grid import one_line
from reports.published import FIELDS, read_published
from results.labels import from_spreadsheet, spreadsheet_text
from results.text import to_csv as export_csv

OURS = {"html", "head", "meta", "title", "style", "body", "table", "caption", "thead", "tbody", "tr", "th", "td"}
OURS |= {"small", "b", "u", "i", "sup", "p"}
FORMULA, SCRIPT, INPUT, LINES, SPECIAL = HOSTILE


@pytest.fixture(scope="module")
def everything():
    """Grids of every style in which methods, data sets, reasons and captions have hostile names."""
    frame = results(HOSTILE, dataset=f"imagefolder:{SCRIPT}").assign(verdict="suspect", why=f"a\nreason {INPUT}")
    wanted = [Choice(style=style, checkpoint="best", caption=SPECIAL) for style in ("full", "compact", "paper")]
    return [grid for choice in wanted for grid in grids(choose(frame, choice), epochs(HOSTILE), choice)]


class Read(HTMLParser):
    """The tags and the texts of cells."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.texts.append(data.strip())


def test_html_shows_every_name_and_makes_no_element_of_it(everything):
    for grid in everything:
        page = Read(to_html(grid))
        assert page.tags <= OURS
        assert {one_line(name) for name in HOSTILE} <= set(page.texts)


@given(st.text())
def test_any_text_is_shown_and_not_obeyed(text):
    """Read back, it is the text on one line; what would be obeyed is there only as part of an escape."""
    shown = one_line(text)
    page = Read(f"<p>{hypertext.escape(text)}</p>")
    assert (page.tags, page.texts) == ({"p"}, [shown] if shown else [])
    markdown = forms_text.escape(text)
    assert re.sub(r"\\([\\`*_|<>\[\]~$&])", r"\1", markdown) == shown
    assert not re.search(r"[`*_|<>\[\]~$]", re.sub(r"\\.", "", markdown))
    rest = latex.escape(text)
    for escape in sorted(latex._ESCAPES.values(), key=len, reverse=True):
        rest = rest.replace(escape, "")
    assert not set(rest) & set("\\{}$&#^_~%")


def test_html_is_a_whole_page_with_every_number(everything):
    for grid in everything:
        text = to_html(grid)
        assert text.startswith("<!DOCTYPE html>")
        assert 'charset="utf-8"' in text
        assert {value.text for line in grid.lines for value in line.values if value} <= set(Read(text).texts)
        assert text.count("<tr>") == 1 + len(grid.lines) + sum(bool(block.title) for block in grid.blocks)


def test_csv_opens_no_formula(everything):
    for grid in everything:
        lines = list(csv.DictReader(io.StringIO(to_csv(grid))))
        assert [line["method"] for line in lines] == [f"'{FORMULA}", *HOSTILE[1:]]
    exported = export_csv(results([FORMULA]).drop(columns="verdicts"))
    assert {line["method"] for line in csv.DictReader(io.StringIO(exported))} == {f"'{FORMULA}"}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_whatever_a_spreadsheet_takes_for_a_formula_is_text(text):
    assert spreadsheet_text(text) == f"'{text}"


@given(st.text("'=+-@\t\rab", max_size=5))
def test_every_text_comes_back_from_its_cell(text):
    assert from_spreadsheet(spreadsheet_text(text)) == text
    assert not spreadsheet_text(text).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_a_table_that_was_written_names_methods_as_published_figures_do(tmp_path):
    """Cells copied out of our CSV name the method that they were written for."""
    own = tmp_path / "own.csv"
    cell = spreadsheet_text(FORMULA)
    own.write_text(f'{",".join(FIELDS)}\n"{cell}",digits,small-cnn,0.2,cw,50.0,a thesis,\n')
    assert read_published(own)[-1].method == FORMULA


@pytest.mark.parametrize("value", ["trades", "", "a=b", "'quoted'", -0.5, None, 7])
def test_everything_else_stays_as_it_is(value):
    assert spreadsheet_text(value) is value


def test_latex_obeys_no_command(everything):
    """Every backslash begins a command of ours."""
    ours = {"begin", "end", "centering", "caption", "label", "footnotesize", "scriptsize", "setlength", "tabcolsep"}
    ours |= {
        "toprule",
        "midrule",
        "bottomrule",
        "addlinespace",
        "medskip",
        "smallskip",
        "linewidth",
        "par",
        "multicolumn",
    }
    ours |= {"textbf", "textit", "underline", "textsuperscript", "dag", "pm", "ll", "gg", "varepsilon"}
    ours |= {"textbackslash", "textless", "textgreater", "textbar", "textasciitilde", "textasciicircum", "\\"}
    for grid in everything:
        text = to_latex(grid)
        assert set(re.findall(r"\\([a-zA-Z]+|.)", text)) <= ours | set("&%$#_{}")
        assert r"\textbackslash{}input\{/etc/passwd\}" in text
        assert "two lines" in text
        assert r"x\_\$\%\&\#\{\}\textasciitilde{}\textasciicircum{} $\ll$?$\gg$ $\varepsilon$?" in text


def test_markdown_keeps_rows_and_shows_names_literally(everything):
    for grid in everything:
        text = to_markdown(grid)
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert len(rows) == len(grid.lines) + 2 * len(grid.blocks)
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
        assert r"\<script\>" in text
        assert not re.search(r"(?<!\\)<(?!/?(sup|u)>)", text)


def test_the_terminal_prints_no_control_character_of_a_name():
    grid = grids(choose(results(["\x1b[31mred", LINES]), Choice(checkpoint="best")), epochs(), Choice())[0]
    console = Console(width=120, file=io.StringIO())
    console.print(to_terminal(grid))
    assert "\x1b" not in console.file.getvalue()
    assert "two lines" in console.file.getvalue()
