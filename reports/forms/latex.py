r"""Tables for a paper: LaTeX that needs ``\usepackage{booktabs}`` and nothing else."""

import re
from collections.abc import Iterable, Sequence

from reports.grid import Block, Column, Grid, Line, Value, groups, one_line

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "–": "--",
    "—": "---",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "ε": r"$\varepsilon$",
    "∞": r"$\infty$",
    "²": "$^2$",
    "†": r"\dag{}",
    "«": r"$\ll$",
    "»": r"$\gg$",
} | {char: f"\\{char}" for char in "&%$#_{}"}
_ESCAPES |= dict.fromkeys("ÐÞðþ", "?")  # Latin letters that pdflatex's own encoding lacks
_STYLES = {"": "{}", "best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", "doubtful": r"\textit{{{}}}"}
# Widths in points: one column of two (article has 229, ICML 235), a page of one column (NeurIPS 397), both columns of
# two (article 469, ICML 487).
_COLUMN, _NARROW_PAGE, _PAGE = 225, 390, 455
_SMALLER = 0.95  # how much narrower \scriptsize is than \footnotesize


def to_latex(grid: Grid) -> str:
    r"""A ``table`` where one column of a two-column page is wide enough, else a ``table*``, which spans both.

    What is too wide for a page of one column is in smaller type; what is too wide for two goes on in a second tabular.
    In a stacked grid each line takes two rows. Compiles with pdflatex; names, reasons and notes are escaped, and
    characters that no Latin font has become ``?``.
    """
    grid = grid if grid.stacked else grid.flat
    widths = _widths(grid)
    environment = "table" if sum(widths) <= _COLUMN else "table*"
    size = r"\footnotesize" if sum(widths) <= _NARROW_PAGE else r"\scriptsize"
    tabulars = [_tabular(grid, places) for places in groups(widths[1:], _PAGE / _SMALLER - widths[0])]
    notes = [rf"\textsuperscript{{{escape(mark)}}} {escape(text)}" for mark, text in grid.footnotes.items()]
    notes += map(escape, grid.notes)
    return "\n".join(
        [
            "% requires booktabs",
            rf"\begin{{{environment}}}",
            r"  \centering",
            rf"  \caption{{{escape(grid.title)}}}",
            rf"  \label{{tab:{grid.slug}}}",
            f"  {size}",
            rf"  \setlength{{\tabcolsep}}{{{_gap(grid) // 2}pt}}",
            "\n\n  \\medskip\n".join(tabulars),
            *_under(notes),
            rf"\end{{{environment}}}",
            "",
        ]
    )


def escape(text: str) -> str:
    """The text as LaTeX prints it literally."""
    return "".join(_ESCAPES.get(char, char if ord(char) < 256 else "?") for char in one_line(text))


def _under(notes: Sequence[str]) -> list[str]:
    if not notes:
        return []
    lines = [f"    {note}\\par" for note in notes]
    return ["", r"  \smallskip", r"  \begin{minipage}{\linewidth}\scriptsize", *lines, r"  \end{minipage}"]


def _tabular(grid: Grid, places: Sequence[int]) -> str:
    columns = [grid.columns[place] for place in places]
    alignment = "".join("l" if column.text else "r" for column in columns)
    return "\n".join(
        [
            rf"  \begin{{tabular}}{{@{{}}l{alignment}@{{}}}}",
            r"    \toprule",
            *_header(grid, columns),
            r"    \midrule",
            "\n    \\midrule\n".join(_block(grid, block, places) for block in grid.blocks),
            r"    \bottomrule",
            r"  \end{tabular}",
        ]
    )


def _header(grid: Grid, columns: Sequence[Column]) -> list[str]:
    """The headings on one line, or on two where any column asks for it."""
    halves = [_heading(column).rpartition("\n") for column in columns]
    upper, lower = [half[0] for half in halves], [half[2] for half in halves]
    if grid.stacked:
        return [_row(map(escape, (grid.first, *upper))), _row(map(escape, ("verdict", *lower)))]
    return [_row(map(escape, ("", *upper)))] * any(upper) + [_row(map(escape, (grid.first, *lower)))]


def _heading(column: Column) -> str:
    return column.narrow or column.heading.replace("\n", " ")


def _block(grid: Grid, block: Block, places: Sequence[int]) -> str:
    title = rf"    \multicolumn{{{len(places) + 1}}}{{@{{}}c@{{}}}}{{{escape(block.title)}}} \\ \addlinespace[2pt]"
    lines = [_line(grid, line, places) for line in block.lines]
    between = "\n    \\addlinespace[2pt]\n" if grid.stacked else "\n"
    return "\n".join([title] * bool(block.title) + [between.join(lines)])


def _line(grid: Grid, line: Line, places: Sequence[int]) -> str:
    values = [line.name, *(line.values[place] for place in places)]
    if not grid.stacked:
        return _row(_value(value, beside=True) for value in values)
    verdict = rf"\scriptsize {_value(line.verdict, beside=False)}" if line.verdict else ""
    below = [rf"\scriptsize {escape(value.below[0])}" if value and value.below else "" for value in values[1:]]
    return "\n".join([_row(_value(value, beside=False) for value in values), _row([verdict, *below])])


def _row(cells: Iterable[str]) -> str:
    return rf"    {' & '.join(cells)} \\"


def _value(value: Value | None, *, beside: bool) -> str:
    if value is None:
        return "--"
    signed = re.fullmatch(r"[+-][\d.]+", value.text)
    text = _STYLES[value.style].format(f"${value.text}$" if signed else escape(value.text))
    mark = rf"\textsuperscript{{{escape(value.mark)}}}" if value.mark else ""
    return f"{text} {escape(value.beside)}".rstrip() + mark if beside else text + mark


def _widths(grid: Grid) -> list[float]:
    """About how wide the columns are in type of 8 points, the first that of the names."""
    columns = [[grid.first, *(line.name.text for line in grid.lines)]]
    for place, column in enumerate(grid.columns):
        values = [line.values[place] for line in grid.lines]
        columns.append(
            [*_heading(column).split("\n"), *(text for value in values if value for text in _texts(grid, value))]
        )
    return [max(map(_width, texts)) + _gap(grid) for texts in columns]


def _gap(grid: Grid) -> int:
    """Points between columns: more where a column holds two numbers side by side."""
    return 4 if grid.stacked else 8


def _texts(grid: Grid, value: Value) -> list[str]:
    return [value.text, *value.below[:1]] if grid.stacked else [f"{value.text} {value.beside}{value.mark}"]


def _width(text: str) -> float:
    return 8 * sum(
        0.3 if char in " .,:;'|!()[]-ijl" else 0.8 if char.isupper() or char in "mw±%" else 0.55 for char in text
    )
