"""Accuracy by attack, in bars."""

from collections.abc import Sequence
from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.source import Source, best_of, title_of
from reports.figures.style import CHARACTERS, DARK, MASKED_HATCH, WIDTH, legend, style, swatch, written
from reports.methods import colours
from reports.table import Cell, Comparison, Row

_MOST = 13


def accuracy_bars(whole: Comparison, source: Source | None = None) -> Figure:
    """Accuracy in % by attack and method of one table.

    Error bars are 95 % Wilson intervals, or sample standard deviations where a method has several seeds. The bars of a
    masked method are hatched.
    """
    table = best_of(whole, _MOST)
    palette = colours(row.method for row in table.rows)
    handles = [swatch(colour, written(name)) for name, colour in palette.items()]
    if any(row.verdict == "masked" for row in table.rows):
        handles.append(swatch("white", "masked", MASKED_HATCH))
    with style():
        figure = Figure(figsize=(WIDTH, 2.5 + 0.16 * ceil(len(handles) / 2)))
        _bars(figure.subplots(), table, palette)
        figure.axes[0].set_title(title_of(table, whole))
        legend(figure, handles)
    return figure


def _bars(axes: Axes, table: Comparison, palette: dict[str, str]) -> None:
    width = 0.84 / len(table.rows)
    for index, row in enumerate(table.rows):
        shown = [(place, row.cells[name]) for place, name in enumerate(table.attacks) if name in row.cells]
        offset = (index - (len(table.rows) - 1) / 2) * width
        _bar_series(axes, row, [place + offset for place, _ in shown], [cell for _, cell in shown], width, palette)
    axes.set_xticks(range(len(table.attacks)), table.attacks)
    if max(map(len, table.attacks)) * len(table.attacks) > CHARACTERS:
        axes.set_xticks(axes.get_xticks(), table.attacks, rotation=60, ha="right", rotation_mode="anchor")
    axes.tick_params(axis="x", length=0)
    axes.set(xlim=(-0.5, len(table.attacks) - 0.5), ylim=(0, 100), ylabel="accuracy (%)")


def _bar_series(
    axes: Axes, row: Row, places: Sequence[float], cells: Sequence[Cell], width: float, palette: dict[str, str]
) -> None:
    ends = [ends_of(cell) for cell in cells]
    axes.bar(
        places,
        [100 * cell.accuracy for cell in cells],
        width,
        yerr=[
            [100 * (cell.accuracy - low) for cell, (low, _) in zip(cells, ends, strict=True)],
            [100 * (high - cell.accuracy) for cell, (_, high) in zip(cells, ends, strict=True)],
        ],
        label=row.method,
        color=palette[row.method],
        edgecolor="white",
        linewidth=0.3,
        hatch=MASKED_HATCH if row.verdict == "masked" else None,
        error_kw={"elinewidth": 0.7, "ecolor": DARK, "capsize": 1.2, "capthick": 0.7},
    )


def ends_of(cell: Cell) -> tuple[float, float]:
    """Where an error bar begins and ends: of several seeds the standard deviation, of one its 95 % interval."""
    if cell.std is not None:
        return cell.accuracy - cell.std, cell.accuracy + cell.std
    if cell.low is None or cell.high is None:
        return cell.accuracy, cell.accuracy
    return cell.low, cell.high
