"""Worst-case accuracy class by class."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports.figures.source import Source, best_of, title_of
from reports.figures.style import rows_figure, style
from reports.table import Comparison, Row
from results.names import WORST_CASE

_MOST = 30
_READABLE = 12  # classes whose numbers have room


def accuracy_by_class(whole: Comparison, source: Source) -> Figure | None:
    """Worst-case accuracy in % of the test examples of each class, as a map; of several seeds, the mean.

    It is of those first test examples whose labels are known. A class without examples is left white.
    """
    table, labels = best_of(whole, _MOST), source.classes_of(whole)
    rows = [row for row in table.rows if row.verdicts.get(WORST_CASE)]
    if not rows or not len(labels):
        return None
    shares = np.array([_by_class(row, labels) for row in rows])
    classes = shares.shape[1]
    with style():
        figure, axes = rows_figure([row.method for row in rows], above=1.1)
        image = axes.imshow(100 * shares, vmin=0, vmax=100, aspect="auto")
        figure.colorbar(image, ax=axes, label="accuracy (%)", pad=0.02)
        if classes <= _READABLE:
            axes.set_xticks(range(classes))
            for place, label in np.argwhere(~np.isnan(shares)):
                share = 100 * shares[place, label]
                axes.text(
                    label,
                    place,
                    f"{share:.0f}",
                    ha="center",
                    va="center",
                    fontsize=6.5,
                    color="white" if share < 55 else "black",
                )
        axes.set(xlabel="class", title=title_of(table, whole))
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
    return figure


def _by_class(row: Row, labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """The share of each class that stands (classes,)."""
    found = np.full((len(row.verdicts[WORST_CASE]), labels.max() + 1), np.nan)
    for shares, verdicts in zip(found, row.verdicts[WORST_CASE].values(), strict=True):
        common = min(len(labels), len(verdicts))
        seen = np.bincount(labels[:common], minlength=len(shares))
        stands = np.bincount(labels[:common][verdicts[:common]], minlength=len(shares))
        shares[seen > 0] = stands[seen > 0] / seen[seen > 0]
    mean: NDArray[np.float64] = found.mean(0)
    return mean
