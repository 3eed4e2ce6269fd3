"""The comparison table: methods by attacks, and how it is laid out."""

from reports.table.build import comparison, comparisons
from reports.table.comparison import OVERESTIMATION, Cell, Comparison, Row
from reports.table.layout import compact, full

__all__ = ["OVERESTIMATION", "Cell", "Comparison", "Row", "compact", "comparison", "comparisons", "full"]
