"""What single attacks take away from a model, and what AutoAttack leaves to be taken."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.source import Source, best_of, title_of
from reports.figures.style import DARK, MASKED_HATCH, legend, rows_figure, style, swatch
from reports.methods import colours
from reports.table import OVERESTIMATION, Comparison, Row
from results.names import NATURAL, WORST_CASE
from results.statistics import wilson
from results.verdicts import Verdicts

_MOST = 30
_READABLE = 5.0  # per cent: a narrower part has no room for its number
_STANDS, _WRONG = "#0072b2", "#bbbbbb"
_PARTS = (
    "#fde725",
    "#f6b13c",
    "#ed7d2b",
    "#cc4d2f",
    "#972c3b",
    "#5c1f3f",
    "#2b1736",
)  # light to dark: told apart in grey


def waterfall(whole: Comparison, source: Source) -> Figure | None:
    """What each attack in turn takes away, in % of the test examples: each counts what those before it had left.

    A row is one method: what it gets wrong without an attack, what each attack breaks, and what stands in the end;
    hatched where that is not under every attack of the table. Of several seeds, the mean.
    """
    table = best_of(whole, _MOST)
    attacks = [name for name in table.attacks if name not in (NATURAL, WORST_CASE)]
    taken = {row.method: _taken(row, attacks) for row in table.rows if row.verdicts.get(NATURAL)}
    if not taken or not attacks:
        return None
    ink = {name: _PARTS[min(place, len(_PARTS) - 1)] for place, name in enumerate(attacks)}
    with style():
        figure, axes = rows_figure([*taken], above=1.5)
        for place, (method, parts) in enumerate(taken.items()):
            row = next(row for row in table.rows if row.method == method)
            whole_row = all(name in row.verdicts for name in attacks)
            _row(
                axes, place, [(WORST_CASE, 1 - sum(parts.values()), _STANDS)], 0.0, None if whole_row else MASKED_HATCH
            )
            order = [(name, parts[name], ink[name]) for name in reversed(attacks) if name in parts]
            _row(axes, place, [*order, (NATURAL, parts[NATURAL], _WRONG)], 100 * (1 - sum(parts.values())), None)
        axes.set(xlim=(0, 100), xlabel="test examples (%)")
        axes.set_title(title_of(table, whole))
        handles = [swatch(_STANDS, "stands"), *(swatch(ink[name], name) for name in reversed(attacks))]
        handles.append(swatch(_WRONG, "wrong without an attack"))
        if any(set(attacks) - row.verdicts.keys() for row in table.rows):
            handles.append(swatch("white", "not every attack was run", MASKED_HATCH))
        legend(figure, handles)
    return figure


def _taken(row: Row, attacks: Sequence[str]) -> dict[str, float]:
    """The shares that are wrong without an attack and that each attack takes of what is left; means over the seeds."""
    shares: dict[str, list[float]] = {}
    for seed, standing in row.verdicts[NATURAL].items():
        left: Verdicts = standing
        shares.setdefault(NATURAL, []).append(float(np.mean(~left)))
        for name in attacks:
            after = row.verdicts.get(name, {}).get(seed)
            if after is not None and len(after) == len(left):
                shares.setdefault(name, []).append(float(np.mean(left & ~after)))
                left = left & after
    return {name: float(np.mean(each)) for name, each in shares.items()}


def _row(axes: Axes, place: int, parts: Sequence[tuple[str, float, str]], start: float, hatch: str | None) -> None:
    """Parts side by side from ``start`` %, with their numbers where there is room."""
    for _, share, colour in parts:
        axes.barh(place, 100 * share, 0.78, left=start, color=colour, edgecolor="white", linewidth=0.4, hatch=hatch)
        if 100 * share >= _READABLE:
            red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
            middle = start + 50 * share
            axes.text(
                middle,
                place,
                f"{100 * share:.0f}",
                ha="center",
                va="center",
                fontsize=6.5,
                color="white" if dark else "black",
            )
        start += 100 * share


def overestimation(whole: Comparison, source: Source) -> Figure | None:
    """AutoAttack's accuracy minus the worst case, in points, for each method; hatched where it is masked.

    With one seed the line is the 95 % Wilson interval of the share of examples that AutoAttack alone left standing.
    """
    table = best_of(whole, _MOST)
    rows = [row for row in table.rows if OVERESTIMATION in row.differences]
    if not rows:
        return None
    palette = colours(row.method for row in rows)
    with style():
        figure, axes = rows_figure([row.method for row in rows], above=0.8)
        for place, row in enumerate(rows):
            gap, hatch = 100 * row.differences[OVERESTIMATION], MASKED_HATCH if row.verdict == "masked" else None
            axes.barh(place, gap, 0.7, color=palette[row.method], hatch=hatch, edgecolor="white", linewidth=0.3)
            reach = gap
            if len(row.seeds) == 1:
                examples = row.cells[WORST_CASE].examples
                low, high = wilson(round(row.differences[OVERESTIMATION] * examples), examples)
                axes.plot([100 * low, 100 * high], [place, place], color=DARK, linewidth=0.8)
                reach = 100 * high
            axes.annotate(
                f"{gap + 0.0:.1f}", (reach, place), (4, 0), textcoords="offset points", va="center", fontsize=7
            )
        axes.set_xlabel("AutoAttack minus worst case (points)")
        axes.set_xlim(0, max(1.0, 1.12 * max(axes.dataLim.x1, 0)))
        axes.set_title(title_of(table, whole))
        if any(row.verdict == "masked" for row in rows):
            legend(figure, [swatch("white", "masked", MASKED_HATCH)])
    return figure
