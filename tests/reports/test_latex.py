"""Tables as pdflatex sets them on a page of two columns; what warns is wrong."""

import shutil
import subprocess

import pandas as pd
import pytest
from reports_example import ATTACKS, HOSTILE, METHODS, epochs, results

from reports.choice import Choice, choose, grids
from reports.forms import to_latex

ABLATION = ("pgd-at", "pgd-at-anc", "pgd-at-ra", "pgd-at-ancra")
MANY = (*ATTACKS, *(f"pgd-{steps}" for steps in (10, 30, 40, 50, 60, 70)))
needs_pdflatex = pytest.mark.skipif(
    shutil.which("pdflatex") is None,
    reason="pdflatex is not installed: apt-get install texlive-latex-recommended texlive-fonts-recommended",
)


def tables(frame, style, **choice):
    wanted = Choice(style=style, **choice)
    return [to_latex(grid) for grid in grids(choose(frame, wanted), epochs(seeds=(0, 1)), wanted)]


@needs_pdflatex
def test_every_table_fits_the_page_and_compiles_with_booktabs_alone(tmp_path):
    """One seed and two, hostile names, an ablation, 14 attacks, and a table that fits one column."""
    several = pd.concat([results([*METHODS, *HOSTILE], seeds=(0, 1)), results(ABLATION, seeds=(0, 1), dataset="mnist")])
    wide = results(["pgd-at", "mart-ancra"], attacks=MANY)
    sources = [source for style in ("full", "compact", "paper") for source in tables(several, style)]
    sources += [source for style in ("full", "compact") for source in tables(wide, style, checkpoint="best")]
    sources += tables(wide, "full", columns=["natural", "autoattack", "worst-case"], checkpoint="last")
    sources += tables(wide, "compact", columns=MANY[:5], checkpoint="last")
    assert {line for source in sources for line in source.splitlines() if line.startswith(r"\begin")} == {
        r"\begin{table}",
        r"\begin{table*}",
    }
    body = "\n\\clearpage\n".join(sources)
    document = rf"\documentclass[twocolumn]{{article}}\usepackage{{booktabs}}\begin{{document}}{body}\end{{document}}"
    (tmp_path / "tables.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-2000:]
    complaints = [line for line in said.splitlines() if "Warning" in line or "full \\hbox" in line]
    assert [line for line in complaints if "Label(s) may have changed" not in line] == []


def test_the_first_line_says_what_the_table_needs():
    for style in ("full", "compact", "paper"):
        assert all(source.startswith("% requires booktabs\n\\begin{table") for source in tables(results(), style))
