r"""The comparison table for a paper: LaTeX that needs ``\usepackage{booktabs}`` and nothing else."""

from collections.abc import Iterable

from reports.table.comparison import Cell, Comparison, Row, percent, points

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
} | {char: f"\\{char}" for char in "&%$#_{}"}
_HEADERS = {"autoattack": ("auto-", "attack"), "worst-case": ("worst", "case")}


def to_latex(comparison: Comparison) -> str:
    """A ``table`` environment: two lines for each method, verdicts under names, intervals under accuracies.

    Compiles with pdflatex. Names, reasons and notes are escaped; characters that no Latin font has become ``?``.
    """
    attacks, differences = comparison.attacks, comparison.differences
    header = [_HEADERS.get(attack, ("", attack)) for attack in attacks]
    header += [(f"{first} −", second) for first, second in (name.split(" - ") for name in differences)]
    header += [("", "rank")] * comparison.ranked
    body = "\n    \\addlinespace[2pt]\n".join(_row(comparison, row) for row in comparison.rows)
    notes = [rf"$^{{{number}}}$ {escape(why)}" for number, why in enumerate(comparison.reasons, start=1)]
    notes += [escape(note) for note in comparison.notes]
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{escape(comparison.title)}}}",
            rf"  \label{{tab:{comparison.slug}}}",
            r"  \footnotesize",
            r"  \setlength{\tabcolsep}{2pt}",
            rf"  \begin{{tabular}}{{@{{}}l{'r' * len(header)}@{{}}}}",
            r"    \toprule",
            _line(escape(text) for text in ("method", *(upper for upper, _ in header))),
            _line(escape(text) for text in ("verdict", *(lower for _, lower in header))),
            r"    \midrule",
            body,
            r"    \bottomrule",
            r"  \end{tabular}",
            "",
            r"  \smallskip",
            r"  \begin{minipage}{\linewidth}\scriptsize",
            *(f"    {note}\\par" for note in notes),
            r"  \end{minipage}",
            r"\end{table}",
            "",
        ]
    )


def escape(text: str) -> str:
    """The text as LaTeX prints it literally."""
    return "".join(_ESCAPES.get(char, char if ord(char) < 256 else "?") for char in text)


def _row(comparison: Comparison, row: Row) -> str:
    cells = [row.cells.get(attack) for attack in comparison.attacks]
    number = comparison.mark(row)
    verdict = rf"\scriptsize {row.verdict}" + (f"$^{{{number}}}$" if number else "")
    values = [_value(cell) for cell in cells] + [_difference(row, name) for name in comparison.differences]
    values += [str(row.rank or "--")] * comparison.ranked
    spreads = [rf"\scriptsize {_spread(cell)}" if cell else "" for cell in cells]
    spreads += [""] * (len(values) - len(spreads))
    return "\n".join([_line([escape(comparison.label(row)), *values]), _line([verdict, *spreads])])


def _line(cells: Iterable[str]) -> str:
    return rf"    {' & '.join(cells)} \\"


def _value(cell: Cell | None) -> str:
    if cell is None:
        return "--"
    text = percent(cell.accuracy)
    return rf"\textbf{{{text}}}" if cell.best else rf"\textit{{{text}}}" if cell.inflated else text


def _spread(cell: Cell) -> str:
    if cell.std is not None:
        return rf"$\pm${percent(cell.std)}"
    return "--".join(cell.interval() or ())


def _difference(row: Row, name: str) -> str:
    return f"${points(row.differences[name])}$" if name in row.differences else "--"
