"""Figures of the results, drawn without a display; a method has the same colour in all of them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil, inf
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from reports.methods import colours, labels
from reports.table import Cell, Comparison, Row
from results.errors import HarnessError
from results.labels import ball_of
from results.names import NATURAL, WORST_CASE

if TYPE_CHECKING:
    from pandas import DataFrame

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.6,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,
    "savefig.dpi": 280,
}
_WIDTH = 5.0  # inches: letters of 8 pt are of 5 pt in a column of 3.3 inches, and of 11 pt over the width of a page
_CHARACTERS = 70  # of 8 pt that fit into the width beside an axis

_DOT: dict[str, Any] = {
    "markersize": 4.5,
    "markeredgecolor": "black",
    "markeredgewidth": 0.7,
    "clip_on": False,
    "zorder": 4,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw and save figures in this house's style, whatever the user's matplotlibrc says."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def accuracy_bars(table: Comparison) -> Figure:
    """Accuracy in % by attack and method of one table.

    Error bars are 95 % Wilson intervals, or sample standard deviations where a method has several seeds. The bars of a
    masked method are hatched.
    """
    palette = colours(row.method for row in table.rows)
    handles = [Patch(facecolor=colour, label=name) for name, colour in palette.items()]
    if any(row.verdict == "masked" for row in table.rows):
        handles.append(Patch(facecolor="white", edgecolor="black", hatch="/////", label="masked"))
    columns = _columns([str(each.get_label()) for each in handles])
    with style():
        figure = Figure(figsize=(_WIDTH, 2.6 + 0.16 * ceil(len(handles) / columns)))
        _bars(figure.subplots(), table, palette)
        figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False)
    return figure


def _columns(labels: Sequence[str]) -> int:
    """Of a legend above the axes, at most four: as many as its longest label lets fit."""
    return max(1, min(4, len(labels), _CHARACTERS // (max(map(len, labels)) + 5)))


def _bars(axes: Axes, table: Comparison, palette: dict[str, str]) -> None:
    width = 0.84 / len(table.rows)
    for index, row in enumerate(table.rows):
        shown = [(place, row.cells[name]) for place, name in enumerate(table.attacks) if name in row.cells]
        offset = (index - (len(table.rows) - 1) / 2) * width
        _bar_series(axes, row, [place + offset for place, _ in shown], [cell for _, cell in shown], width, palette)
    axes.set_xticks(range(len(table.attacks)), table.attacks)
    if max(map(len, table.attacks)) * len(table.attacks) > _CHARACTERS:
        axes.set_xticks(axes.get_xticks(), table.attacks, rotation=45, ha="right", rotation_mode="anchor")
    axes.tick_params(axis="x", length=0)
    axes.set(xlim=(-0.5, len(table.attacks) - 0.5), ylim=(0, 100), ylabel="accuracy (%)", title=table.title)


def _bar_series(
    axes: Axes, row: Row, places: Sequence[float], cells: Sequence[Cell], width: float, palette: dict[str, str]
) -> None:
    heights = [100 * cell.accuracy for cell in cells]
    axes.bar(
        places,
        heights,
        width,
        yerr=[[100 * down for down, _ in map(_errors, cells)], [100 * up for _, up in map(_errors, cells)]],
        label=row.method,
        color=palette[row.method],
        edgecolor="white",
        linewidth=0.3,
        hatch="/////" if row.verdict == "masked" else None,
        error_kw={"elinewidth": 0.7, "ecolor": "#222222", "capsize": 1.2, "capthick": 0.7},
    )


def _errors(cell: Cell) -> tuple[float, float]:
    """How far the error bar reaches below and above the accuracy, as fractions."""
    if cell.std is not None:
        return cell.std, cell.std
    if cell.low is None or cell.high is None:
        return 0.0, 0.0
    return cell.accuracy - cell.low, cell.high - cell.accuracy


def security_curve(tables: Sequence[Comparison]) -> Figure:
    """Worst-case accuracy in % over the radius, of tables that differ in it alone; at 0 it is the natural accuracy.

    Bands are 95 % intervals. The curve of a method that is masked at some radius is dotted.
    """
    ordered = sorted(tables, key=lambda table: ball_of(table.threat)[1])
    rows = [(ball_of(table.threat)[1], row) for table in ordered for row in table.rows if WORST_CASE in row.cells]
    palette = colours(row.method for _, row in rows)
    with style():
        figure = Figure(figsize=(_WIDTH, 3.2))
        axes = figure.subplots()
        for name, colour in palette.items():
            own = [(radius, row) for radius, row in rows if row.method == name]
            start = [(0.0, own[0][1].cells[NATURAL])] if NATURAL in own[0][1].cells else []
            masked = any(row.verdict == "masked" for _, row in own)
            cells = start + [(radius, row.cells[WORST_CASE]) for radius, row in own]
            _security(axes, name, cells, colour, ":" if masked else "-")
        radii = {ball_of(table.threat)[1]: table.threat.partition(" ")[2] for table in ordered}
        axes.set_xticks([0.0, *radii], _apart({0.0: "0", **radii}))
        first = ordered[0]
        norm = ball_of(first.threat)[0]
        axes.set(xlabel=f"{norm} radius", ylabel="worst-case accuracy (%)", ylim=(0, 100))
        axes.set_title(f"{first.dataset}, {first.model}, {norm}: {first.checkpoint} checkpoint")
        figure.legend(loc="outside upper center", ncols=_columns(list(palette)), frameon=False)
    return figure


def _apart(ticks: Mapping[float, str]) -> list[str]:
    """The labels of ticks in order, without those that are too close to the one before to be read."""
    shown, last = [], -inf
    for place, label in ticks.items():
        readable = place - last > max(ticks) / 12
        shown.append(label if readable else "")
        last = place if readable else last
    return shown


def _security(axes: Axes, name: str, cells: Sequence[tuple[float, Cell]], colour: str, line: str) -> None:
    radii, heights = [radius for radius, _ in cells], [100 * cell.accuracy for _, cell in cells]
    low, high = ([100 * end for end in ends] for ends in zip(*(_ends(cell) for _, cell in cells), strict=True))
    axes.plot(radii, heights, line, color=colour, marker="o", markersize=3, linewidth=1.3, label=name, clip_on=False)
    axes.fill_between(radii, low, high, color=colour, alpha=0.15, linewidth=0)


def _ends(cell: Cell) -> tuple[float, float]:
    down, up = _errors(cell)
    return cell.accuracy - down, cell.accuracy + up


def training_curves(history: "DataFrame") -> Figure:
    """Validation accuracy in % over epochs, natural (dashed) and robust (solid), of the trainings of one setting.

    One panel for each method, and for each protocol of a method that was trained under several; seeds are lines of one
    panel. A dot marks the epoch of each best checkpoint, as the training chose it.

    Raises:
        HarnessError: if there is no epoch with validation accuracies.
    """
    measured = history[history["validation_robust"].notna() & history["validation_natural"].notna()]
    if measured.empty:
        raise HarnessError("there are no training curves yet: run `harness run --methods all` first")
    panels = labels(measured.to_dict("records"))
    columns = min(4, len(panels))
    rows = ceil(len(panels) / columns)
    palette = colours(panels.values())
    with style():
        figure = Figure(figsize=(_WIDTH, 0.5 + 1.6 * rows))
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for place, (axes, (protocol, label)) in enumerate(zip(grid.flat, panels.items(), strict=False)):
            own = (measured[["method", "protocol"]] == list(protocol)).all(axis=1)
            _curves(axes, measured[own], palette[label])
            axes.set_title(_wrapped(label))
            axes.tick_params(labelbottom=place + columns >= len(panels))
        for axes in grid.flat[len(panels) :]:
            axes.remove()
        grid.flat[0].xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
        grid.flat[0].set_ylim(0, 100)
        figure.supxlabel("epoch", fontsize=8)
        figure.supylabel("validation accuracy (%)", fontsize=8)
        figure.legend(handles=_curve_legend(), loc="outside upper center", ncols=3, frameon=False)
    return figure


def _wrapped(label: str) -> str:
    """The label in lines that fit above a panel, what it is trained with below the method."""
    method, _, settings = label.partition(" (")
    return "\n".join([method, *wrap(f"({settings}", _CHARACTERS // 4)]) if settings else label


def _curves(axes: Axes, panel: "DataFrame", colour: str) -> None:
    for _, training in panel.groupby("train_id", sort=False):
        epochs = training.sort_values("epoch")
        alone = "." if len(epochs) == 1 else None
        for column, line, width in (("validation_natural", "--", 1.0), ("validation_robust", "-", 1.3)):
            axes.plot(epochs["epoch"], 100 * epochs[column], line, color=colour, linewidth=width, marker=alone)
        best = epochs[epochs["epoch"] == epochs["best_epoch"]]
        axes.plot(best["epoch"], 100 * best["validation_robust"], "o", color=colour, **_DOT)


def _curve_legend() -> list[Line2D]:
    return [
        Line2D([], [], color="#444444", linestyle="--", linewidth=1, label="natural"),
        Line2D([], [], color="#444444", linewidth=1.3, label="robust"),
        Line2D([], [], color="#444444", linestyle="", marker="o", label="best checkpoint", **_DOT),
    ]
