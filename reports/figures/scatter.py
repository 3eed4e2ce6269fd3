"""Robust accuracy against what it is paid with: natural accuracy, and hours or passes."""

from collections.abc import Iterable, Sequence
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.cost import ATTACK_PASSES, TRAINING_HOURS, costs_of
from reports.figures.accuracy import ends_of
from reports.figures.source import Source, best_of, title_of
from reports.figures.style import DOT, GREY, WIDTH, dots, legend, legend_height, style
from reports.methods import colours
from reports.published import Claim
from reports.table import Comparison
from results.names import NATURAL, WORST_CASE

_MOST, _AXES = 13, 1.8  # methods; inches
Point = tuple[float, float]


def natural_and_robust(whole: Comparison, source: Source) -> Figure | None:
    """Worst-case over natural accuracy in %, with the front of the measured methods that no other beats in both.

    Published points, hollow, are natural and AutoAttack accuracy as their authors give them; they take no part in the
    front. Error bars are those of the accuracy bars.
    """
    measured = best_of(whole, _MOST)
    both = [row for row in measured.rows if NATURAL in row.cells and WORST_CASE in row.cells]
    if not both:
        return None
    claimed = _claimed(source.claims, whole)
    palette = colours([*(row.method for row in both), *claimed])
    with style():
        figure = Figure(figsize=(WIDTH, 2.6 + 0.15 * len(palette) / 2))
        axes = figure.subplots()
        handles = dots({row.method: palette[row.method] for row in both})
        points = [(100 * row.cells[NATURAL].accuracy, 100 * row.cells[WORST_CASE].accuracy) for row in both]
        for row, (natural, robust), dot in zip(both, points, handles, strict=True):
            (left, right), (low, high) = (ends_of(row.cells[name]) for name in (NATURAL, WORST_CASE))
            axes.plot([100 * left, 100 * right], [robust, robust], color=palette[row.method], linewidth=0.8)
            axes.plot([natural, natural], [100 * low, 100 * high], color=palette[row.method], linewidth=0.8)
            _dot(axes, natural, robust, dot)
        handles += _front(axes, points, largest=True)
        for name, natural, robust in ((name, *point) for name, own in claimed.items() for point in own):
            axes.plot(natural, robust, "D", markerfacecolor="none", markeredgecolor=palette[name], markersize=5)
        handles += [
            Line2D(
                [],
                [],
                linestyle="",
                marker="D",
                markerfacecolor="none",
                markersize=5,
                markeredgecolor=palette[name],
                label=f"{name}, published",
            )
            for name in claimed
        ]
        axes.set(xlabel="natural accuracy (%)", ylabel="worst-case accuracy (%)")
        axes.margins(0.08)
        axes.grid(axis="both")
        axes.set_title(title_of(measured, whole))
        figure.set_figheight(max(figure.get_figheight(), _AXES + legend_height(handles)))
        legend(figure, handles, "lower")
    return figure


def _claimed(claims: Iterable[Claim], table: Comparison) -> dict[str, list[Point]]:
    """By method the pairs of natural and AutoAttack accuracy that one source gives for this setting."""
    own = [
        each for each in claims if (each.dataset, each.model, each.threat) == (table.dataset, table.model, table.threat)
    ]
    found = {(each.method, each.source, each.attack): 100 * each.accuracy for each in own}
    pairs: dict[str, list[Point]] = {}
    for (method, source, attack), natural in found.items():
        if attack == NATURAL and (robust := found.get((method, source, "autoattack"))) is not None:
            pairs.setdefault(method, []).append((natural, robust))
    return pairs


def cost_and_robustness(whole: Comparison, source: Source) -> Figure | None:
    """Worst-case accuracy in % over the hours of training, and where no time is known, over the passes of the attacks.

    The front is of the methods that none beats at no higher cost.
    """
    measured = best_of(whole, _MOST)
    costs = costs_of(measured, source.frame, source.history)
    name = next((name for name in (TRAINING_HOURS, ATTACK_PASSES) if any(each[name] for each in costs.values())), "")
    known = [row for row in measured.rows if name and costs[row.method][name] and WORST_CASE in row.cells]
    if not known:
        return None
    palette = colours(row.method for row in known)
    with style():
        figure = Figure(figsize=(WIDTH, 2.6 + 0.15 * len(palette) / 2))
        axes = figure.subplots()
        handles = dots(palette)
        brief = name == TRAINING_HOURS and max(mean(costs[row.method][name]) for row in known) < 1
        unit, scale = ("training minutes", 60) if brief else (name, 1)
        points = [(scale * mean(costs[row.method][name]), 100 * row.cells[WORST_CASE].accuracy) for row in known]
        for row, (cost, robust), dot in zip(known, points, handles, strict=True):
            low, high = ends_of(row.cells[WORST_CASE])
            axes.plot([cost, cost], [100 * low, 100 * high], color=palette[row.method], linewidth=0.8)
            _dot(axes, cost, robust, dot)
        handles += _front(axes, points, largest=False)
        axes.set(xlabel=unit, ylabel="worst-case accuracy (%)", xlim=(0, 1.1 * max(cost for cost, _ in points)))
        axes.grid(axis="both")
        axes.set_title(title_of(measured, whole))
        figure.set_figheight(max(figure.get_figheight(), _AXES + legend_height(handles)))
        legend(figure, handles, "lower")
    return figure


def _dot(axes: Axes, x: float, y: float, like: Line2D) -> None:
    axes.plot(x, y, linestyle="", marker=like.get_marker(), color=like.get_color(), **DOT)


def front(points: Sequence[Point], *, largest: bool) -> list[Point]:
    """The points that no other is at least as good as in both, and better in one, from left to right.

    Good is high, and to the right where ``largest``, else to the left.
    """
    found: list[Point] = []
    for x, y in sorted(set(points), key=lambda point: (-point[0] if largest else point[0], -point[1])):
        if not found or y > found[-1][1]:
            found.append((x, y))
    return sorted(found)


def _front(axes: Axes, points: Sequence[Point], *, largest: bool) -> list[Line2D]:
    """Draw the front as steps; its entry in the legend, where there is more than one point."""
    best = front(points, largest=largest)
    if len(best) < 2:
        return []
    x, y = zip(*best, strict=True)
    return axes.plot(
        x,
        y,
        color=GREY,
        linewidth=1,
        drawstyle="steps-pre" if largest else "steps-post",
        zorder=1,
        label="Pareto front",
    )
