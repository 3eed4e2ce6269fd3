"""Validation accuracy over the epochs."""

from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reports.figures.source import Source, best_of, title_of
from reports.figures.style import DOT, legend, panels, style
from reports.methods import colours
from reports.table import Comparison

if TYPE_CHECKING:
    from pandas import DataFrame

_MOST = 16
_INK = "#444444"


def training_curves(whole: Comparison, source: Source) -> Figure | None:
    """Validation accuracy in % over epochs, natural (dashed) and robust (solid); one panel for each method.

    Seeds are lines of one panel. A dot marks the epoch of each best checkpoint, as the training chose it; from its
    height to the end of the curve reaches what is lost by training on, robust overfitting, whose points (the mean of
    the seeds) stand beside it.
    """
    known = source.history[source.history["validation_robust"].notna() & source.history["validation_natural"].notna()]
    trained = {row.method: known[known["train_id"].isin(row.trainings)] for row in best_of(whole, _MOST).rows}
    trained = {name: epochs for name, epochs in trained.items() if len(epochs)}
    if not trained:
        return None
    palette = colours(trained)
    with style():
        figure, grid = panels([*trained])
        for axes, (name, epochs) in zip(grid, trained.items(), strict=True):
            _curves(axes, epochs, palette[name])
        grid[0].xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
        grid[0].set_ylim(0, 100)
        figure.supxlabel("epoch", fontsize=8)
        figure.supylabel("validation accuracy (%)", fontsize=8)
        title = title_of(best_of(whole, _MOST), whole).replace(f": {whole.checkpoint} checkpoint", "")
        legend(figure, _legend(), title=title)
    return figure


def _curves(axes: Axes, epochs: "DataFrame", colour: str) -> None:
    lost = []
    for _, training in epochs.sort_values("epoch").groupby("train_id", sort=False):
        alone = "." if len(training) == 1 else None
        for column, line, width in (("validation_natural", "--", 1.0), ("validation_robust", "-", 1.3)):
            axes.plot(training["epoch"], 100 * training[column], line, color=colour, linewidth=width, marker=alone)
        chosen = training[training["epoch"] == training["best_epoch"]]
        axes.plot(chosen["epoch"], 100 * chosen["validation_robust"], "o", color=colour, **DOT)
        if len(chosen):
            best, last = 100 * chosen["validation_robust"].item(), 100 * training["validation_robust"].iloc[-1]
            axes.vlines(training["epoch"].iloc[-1], min(best, last), max(best, last), color="black", linewidth=2)
            lost.append(best - last)
    if lost:
        axes.set_title(f"{axes.get_title()}\nlost {sum(lost) / len(lost) + 0.0:.1f}", fontsize=7.5)


def _legend() -> list[Line2D]:
    return [
        Line2D([], [], color=_INK, linestyle="--", linewidth=1, label="natural"),
        Line2D([], [], color=_INK, linewidth=1.3, label="robust"),
        Line2D([], [], color=_INK, linestyle="", marker="o", label="best", **DOT),
        Line2D([], [], color="black", linewidth=2, label="best to last (points lost)"),
    ]
