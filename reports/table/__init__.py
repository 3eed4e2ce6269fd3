"""The comparison table: methods by attacks, and the four forms in which it is written."""

from reports.table.build import comparison, comparisons
from reports.table.comparison import Cell, Comparison, Row
from reports.table.latex import to_latex
from reports.table.terminal import to_terminal
from reports.table.text import to_csv, to_markdown

__all__ = [
    "Cell",
    "Comparison",
    "Row",
    "comparison",
    "comparisons",
    "to_csv",
    "to_latex",
    "to_markdown",
    "to_terminal",
]
