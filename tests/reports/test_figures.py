"""The figures: what is drawn is what was measured, and every label can be read."""

from itertools import pairwise

import pandas as pd
import pytest
from figure_texts import overlapping
from matplotlib.backends.backend_agg import FigureCanvasAgg
from reports_example import METHODS, epochs, results, score

from reports.figures.accuracy import accuracy_bars
from reports.figures.curves import security_curve
from reports.figures.source import Source
from reports.figures.training import training_curves
from reports.methods import colours
from reports.table import comparison, comparisons


def series(figure):
    """The bars of the first panel by method."""
    return {
        container.get_label(): container for container in figure.axes[0].containers if hasattr(container, "patches")
    }


def curves(history):
    """The training curves of these epochs, in the table of the same trainings."""
    frame = results(history["method"].unique(), seeds=history["seed"].unique())
    frame = frame.drop(columns=["protocol", "params", "train_id"]).merge(
        history[["method", "seed", "protocol", "params", "train_id"]].drop_duplicates(), on=["method", "seed"]
    )
    return training_curves(comparison(frame), Source(frame, history))


def test_bar_heights_and_error_bars_are_the_accuracies_and_their_wilson_intervals():
    frame = results()
    table = comparison(frame)
    bars = series(accuracy_bars(comparison(frame)))
    assert list(bars) == [row.method for row in table.rows]
    for row in table.rows:
        ends = bars[row.method].errorbar.lines[2][0].get_segments()
        for attack, bar, ((_, low), (_, high)) in zip(table.attacks, bars[row.method].patches, ends, strict=True):
            assert bar.get_height() == pytest.approx(100 * score(frame, row.method, attack), abs=1e-9)
            assert low == pytest.approx(100 * score(frame, row.method, attack, "ci_low"), abs=1e-9)
            assert high == pytest.approx(100 * score(frame, row.method, attack, "ci_high"), abs=1e-9)


def test_error_bars_of_several_seeds_are_sample_standard_deviations():
    frame = results(["trades"], seeds=(0, 1, 2))
    accuracies = frame.query("attack == 'cw' and checkpoint == 'best'")["accuracy"]
    place = comparison(frame).attacks.index("cw")
    (_, low), (_, high) = series(accuracy_bars(comparison(frame)))["trades"].errorbar.lines[2][0].get_segments()[place]
    assert (high - low) / 200 == pytest.approx(accuracies.std(ddof=1), abs=1e-12)
    assert (high + low) / 200 == pytest.approx(accuracies.mean(), abs=1e-12)


def test_the_bars_of_a_masked_method_are_hatched_and_no_others():
    figure = accuracy_bars(comparison(results()))
    hatched = {name for name, bars in series(figure).items() if any(bar.get_hatch() for bar in bars.patches)}
    assert hatched == {name for name in METHODS if "ancra" in name}
    assert "masked" in [text.get_text() for text in figure.legends[0].get_texts()]
    honest = accuracy_bars(comparison(results(["trades"])))
    assert "masked" not in [text.get_text() for text in honest.legends[0].get_texts()]


def test_bars_of_one_attack_stand_side_by_side_above_its_name():
    figure = accuracy_bars(comparison(results()))
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks == list(comparison(results()).attacks)
    for place in range(len(ticks)):
        edges = sorted(
            (bars.patches[place].get_x(), bars.patches[place].get_width()) for bars in series(figure).values()
        )
        assert edges[0][0] > place - 0.5
        assert sum(edges[-1]) < place + 0.5
        for (left, width), (right, _) in pairwise(edges):
            assert left + width == pytest.approx(right)


def test_curves_are_the_validation_accuracies_and_the_dot_is_the_stored_best_epoch():
    """Whatever the training chose it by: here the highest natural accuracy, which is not the highest robust one."""
    history = epochs(["natural"]).assign(best_epoch=6)
    history.loc[8, "validation_robust"] = 0.9
    natural, robust, dot = curves(history).axes[0].lines
    assert list(robust.get_xdata()) == list(range(1, 13))
    assert list(natural.get_ydata()) == pytest.approx(list(100 * history["validation_natural"]))
    assert list(robust.get_ydata()) == pytest.approx(list(100 * history["validation_robust"]))
    assert (natural.get_linestyle(), robust.get_linestyle()) == ("--", "-")
    chosen = 100 * history["validation_robust"][5]
    assert (list(dot.get_xdata()), list(dot.get_ydata())) == ([6], [pytest.approx(chosen)])


def test_each_method_has_a_panel_and_each_seed_a_curve():
    figure = curves(epochs(seeds=(0, 1)))
    order = ["natural", "pgd-at", "trades", "mart", "pgd-at-ancra", "trades-ancra", "mart-ancra"]
    assert [axes.get_title().split("\n")[0] for axes in figure.axes] == order
    assert {len(axes.lines) for axes in figure.axes} == {2 * 3}


def test_each_protocol_of_a_method_has_a_panel_that_says_what_differs():
    longer = epochs(["mart"], number=20).assign(protocol="4fee9c", params='{"protocol.epochs": 20}', train_id="longer")
    history = pd.concat([epochs(["mart"]).assign(params='{"protocol.epochs": 12}'), longer])
    panels = curves(history).axes
    assert [axes.get_title().rpartition("\n")[0] for axes in panels] == ["mart\n(epochs=12)", "mart\n(epochs=20)"]
    assert [len(axes.lines[0].get_xdata()) for axes in panels] == [12, 20]
    assert overlapping(curves(history)) == []


def test_the_security_curve_goes_from_the_natural_accuracy_over_the_worst_cases_of_the_radii():
    """In the order of the radii, whatever that of the rows; a masked method is dotted, labels are apart."""
    radii = {8: "Linf 8/255", 2: "Linf 2/255", 60: "Linf 0.2353"}
    frame = pd.concat([results(draw=draw).assign(threat=threat) for draw, threat in radii.items()])
    tables = [table for table in comparisons(frame) if table.checkpoint == "best"]
    figure = security_curve(tables[1], Source(frame, epochs([])))
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    for row in tables[1].rows:
        cells = [next(other for other in table.rows if other.method == row.method).cells for table in tables]
        expected = [cells[1]["natural"], *(cells[place]["worst-case"] for place in (1, 0, 2))]
        assert list(lines[row.method].get_ydata()) == pytest.approx([100 * cell.accuracy for cell in expected])
        assert list(lines[row.method].get_xdata()) == pytest.approx([0, 2 / 255, 8 / 255, 0.2353])
        assert lines[row.method].get_linestyle() == (":" if row.verdict == "masked" else "-")
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["0", "", "8/255", "0.2353"]
    assert overlapping(figure) == []


def test_a_single_epoch_is_visible():
    natural, robust, _ = curves(epochs(["mart"], number=1)).axes[0].lines
    assert (natural.get_marker(), robust.get_marker()) == (".", ".")


def test_a_method_has_one_colour_in_all_figures_and_its_protocols_are_shades_of_it():
    frame, history = results([*METHODS, "mine"]), epochs([*METHODS, "mine"])
    bars = {name: bars.patches[0].get_facecolor() for name, bars in series(accuracy_bars(comparison(frame))).items()}
    palette = colours([*METHODS, "mine"])
    assert len(set(palette.values())) == len(METHODS) + 1
    assert len(set(bars.values())) == len(METHODS) + 1
    for axes in curves(history).axes:
        assert {line.get_color() for line in axes.lines} == {palette[axes.get_title().split("\n")[0]]}
    shades = colours(["trades (beta=1)", "trades (beta=3)", "trades (beta=6)", "mine"])
    assert (shades["trades (beta=1)"], shades["mine"]) == (palette["trades"], palette["mine"])
    assert len(set(shades.values())) == 4


def test_no_labels_overlap_with_seven_methods_and_eight_attacks():
    assert overlapping(accuracy_bars(comparison(results()))) == []
    assert overlapping(curves(epochs(number=120))) == []
    varied = [
        results(["trades-ancra"], draw=draw).assign(
            protocol=f"{draw}", train_id=f"{draw}", params=f'{{"beta": {draw}, "aux_weight": {draw}}}'
        )
        for draw in range(3)
    ]
    figure = accuracy_bars(comparison(pd.concat(varied)))
    assert overlapping(figure) == []
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    assert figure.legends[0].get_window_extent(canvas.get_renderer()).width <= figure.bbox.width


def test_without_an_epoch_there_are_no_curves():
    assert curves(epochs().assign(validation_robust=None)) is None
