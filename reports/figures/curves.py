"""Accuracy over what an attack is given: the radius of its ball, the number of its steps."""

import re
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from reports.figures.accuracy import ends_of
from reports.figures.source import Source, best_of, title_of
from reports.figures.style import DARK, WIDTH, legend, panels, style, written
from reports.methods import colours, labels
from reports.table import Cell, Comparison, comparisons
from results.labels import ball_of
from results.names import NATURAL, WORST_CASE

_MOST, _MOST_PANELS = 13, 16
_FEWEST_STEPS = 3
_LEVELS = {"autoattack": (0, (4, 2)), "autoattack-fast": (0, (4, 1, 1, 1)), "adaptive": (0, (1, 1.5))}  # dashes


def security_curve(table: Comparison, source: Source) -> Figure | None:
    """Worst-case accuracy in % over the radius, of the trainings that were attacked at several; natural accuracy at 0.

    Bands are 95 % intervals. The curve of a method that is masked at some radius is dotted.
    """
    tables = [each for each in _over_radii(table, source) if each.checkpoint == table.checkpoint]
    ordered = sorted(tables, key=lambda each: ball_of(each.threat)[1])
    if len(ordered) < 2:
        return None
    shown = best_of(ordered[-1], _MOST)
    palette = colours(row.method for row in shown.rows)
    with style():
        figure = Figure(figsize=(WIDTH, 3.2))
        axes = figure.subplots()
        for name, colour in palette.items():
            own = [(ball_of(each.threat)[1], row) for each in ordered for row in each.rows if row.method == name]
            measured = [(radius, row) for radius, row in own if WORST_CASE in row.cells]
            start = [(0.0, own[0][1].cells[NATURAL])] if NATURAL in own[0][1].cells else []
            masked = any(row.verdict == "masked" for _, row in own)
            cells = start + [(radius, row.cells[WORST_CASE]) for radius, row in measured]
            _security(axes, name, cells, colour, ":" if masked else "-")
        radii = {ball_of(each.threat)[1]: each.threat.partition(" ")[2] for each in ordered}
        axes.set_xticks([0.0, *radii], _apart({0.0: "0", **radii}))
        norm = ball_of(table.threat)[0]
        axes.set(xlabel=f"{norm} radius", ylabel="worst-case accuracy (%)", ylim=(0, 100))
        axes.set_title(title_of(shown, ordered[-1]).replace(shown.threat, norm))
        legend(figure, [line for line in axes.lines if not str(line.get_label()).startswith("_")])
    return figure


def _over_radii(table: Comparison, source: Source) -> Iterator[Comparison]:
    """The tables at each radius of those trainings that were attacked at several.

    A label stands for the same trainings in all of them.
    """
    frame = source.frame[(source.frame[["dataset", "model"]] == [table.dataset, table.model]).all(axis=1)]
    norms = frame["threat"].map(lambda threat: ball_of(threat)[0])
    rows = frame[norms == ball_of(table.threat)[0]]
    own = rows[rows.groupby("train_id")["threat"].transform("nunique") > 1]
    if not own.empty:
        shown = labels(own.to_dict("records"))
        places = zip(own["method"], own["protocol"], strict=True)
        yield from comparisons(own.assign(method=[shown[each] for each in places]))


def _apart(ticks: Mapping[float, str]) -> list[str]:
    """The labels of ticks in order, without those that are too close to the one before to be read."""
    shown, last = [], -inf
    for place, label in ticks.items():
        readable = place - last > max(ticks) / 11
        shown.append(label if readable else "")
        last = place if readable else last
    return shown


def _security(axes: Axes, name: str, cells: Sequence[tuple[float, Cell]], colour: str, line: str) -> None:
    radii, heights = [radius for radius, _ in cells], [100 * cell.accuracy for _, cell in cells]
    low, high = ([100 * end for end in ends] for ends in zip(*(ends_of(cell) for _, cell in cells), strict=True))
    look: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 3, "linewidth": 1.3, "clip_on": False}
    axes.plot(radii, heights, line, label=written(name), **look)
    axes.fill_between(radii, low, high, color=colour, alpha=0.15, linewidth=0)


def steps_curve(whole: Comparison, source: Source) -> Figure | None:
    """Accuracy in % over the steps of PGD, where there are three or more, beside AutoAttack and the adaptive attack.

    A curve that still falls at its end, or that ends above the lines, has not found all there is.
    """
    steps = {name: int(found[1]) for name in whole.attacks if (found := re.fullmatch(r"pgd-(\d+)", name))}
    if len(steps) < _FEWEST_STEPS:
        return None
    table = best_of(whole, _MOST_PANELS)
    palette = colours(row.method for row in table.rows)
    with style():
        figure, grid = panels([row.method for row in table.rows])
        for axes, row in zip(grid, table.rows, strict=True):
            known = [(number, row.cells[name].accuracy) for name, number in steps.items() if name in row.cells]
            axes.plot(
                [n for n, _ in known],
                [100 * accuracy for _, accuracy in known],
                "o-",
                color=palette[row.method],
                markersize=3,
                linewidth=1.3,
            )
            for name, dashes in _LEVELS.items():
                if name in row.cells:
                    axes.axhline(100 * row.cells[name].accuracy, color=DARK, linestyle=dashes, linewidth=1)
        grid[0].set_xscale("log")
        grid[0].xaxis.set_major_locator(FixedLocator([*steps.values()]))
        grid[0].xaxis.set_minor_locator(NullLocator())
        grid[0].set_xticks([*steps.values()], [str(number) for number in steps.values()])
        grid[0].set_ylim(0, 100)
        figure.supxlabel("steps of PGD", fontsize=8)
        figure.supylabel("accuracy (%)", fontsize=8)
        lines = [
            Line2D([], [], color=DARK, linestyle=dashes, linewidth=1, label=name)
            for name, dashes in _LEVELS.items()
            if any(name in row.cells for row in table.rows)
        ]
        legend(
            figure,
            [Line2D([], [], color=DARK, marker="o", markersize=3, linewidth=1.3, label="PGD"), *lines],
            title=title_of(table, whole),
        )
    return figure
