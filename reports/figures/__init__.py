"""Figures of the results, drawn without a display; a method has the same colour in all of them.

Each kind is one row of :data:`reports.figures.catalogue.FIGURES`; ``docs/figures.md`` shows them.
"""

from reports.figures.catalogue import FIGURES, Drawn, draw, drawn
from reports.figures.source import Source, trainings_of

__all__ = ["FIGURES", "Drawn", "Source", "draw", "drawn", "trainings_of"]
