"""The figures that are made of single outcomes, of costs and of features: their numbers, their limits, their names."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from figure_texts import overlapping
from reports_example import HOSTILE, METHODS, epochs, results

from reports.figures import FIGURES, Source, draw
from reports.figures.accuracy import accuracy_bars
from reports.figures.attacks import overestimation, waterfall
from reports.figures.catalogue import of_most_interest
from reports.figures.classes import accuracy_by_class
from reports.figures.curves import steps_curve
from reports.figures.examples import adversarial_examples
from reports.figures.features import feature_distances, feature_map
from reports.figures.scatter import cost_and_robustness, front, natural_and_robust
from reports.published import Claim
from reports.table import comparison, comparisons
from results.errors import UnknownName
from results.features import Features
from results.layout import JobFiles

LABELS = np.arange(200, dtype=np.int32) % 10


def features(method, kind="tsne", job="features-x"):
    """As a job would have measured them, drawn from the method's name."""
    random = np.random.default_rng([*method.encode()])
    own = {name: random.random(len(LABELS), dtype=np.float32) for name in Features._fields[7:]}
    train_id, embedding = f"train-{method}-digits-0", random.random((len(LABELS), 2), dtype=np.float32)
    return Features(job, train_id, "best", "Linf 0.2", kind, LABELS, embedding, **own)


def source(frame, methods=METHODS, **changes):
    return Source(frame, epochs(methods), comparisons(frame), features=[features(each) for each in methods], **changes)


def standing(frame, method, attack):
    where = (frame["method"] == method) & (frame["attack"] == attack) & (frame["checkpoint"] == "best")
    return frame.loc[where, "verdicts"].item()


def widths(figure):
    """Of the bars of each row, from left to right."""
    rows = {}
    for bar in figure.axes[0].patches:
        rows.setdefault(round(bar.get_y() + bar.get_height() / 2), []).append((bar.get_x(), bar.get_width()))
    return [[width for _, width in sorted(rows[row])] for row in sorted(rows)]


def test_each_attack_of_the_waterfall_takes_what_those_before_it_had_left():
    frame = results(["trades", "mart"])
    figure = waterfall(comparison(frame), source(frame))
    order = ["natural", "fgsm", "pgd-20", "pgd-100", "cw", "autoattack", "adaptive"]
    for method, parts in zip(["trades", "mart"], widths(figure), strict=True):
        left, expected = np.ones(200, dtype=bool), []
        for attack in order:
            after = left & standing(frame, method, attack)
            expected.append(left.sum() - after.sum())
            left = after
        assert parts == pytest.approx([left.sum() / 2, *(number / 2 for number in reversed(expected))])
        assert sum(parts) == pytest.approx(100)


def test_what_stands_is_hatched_where_an_attack_was_not_run():
    whole = results(["trades", "mart"])
    frame = whole[(whole["method"] == "trades") | (whole["attack"] != "autoattack")]
    first = [bar for bar in waterfall(comparison(frame), source(frame)).axes[0].patches if bar.get_x() == 0]
    assert [bool(bar.get_hatch()) for bar in first] == [False, True]


def test_the_overestimation_is_autoattack_minus_worst_case_in_points():
    frame = results(["trades", "mart-ancra"])
    bars = overestimation(comparison(frame), source(frame)).axes[0].patches
    for method, bar in zip(["trades", "mart-ancra"], bars, strict=True):
        gap = standing(frame, method, "autoattack").mean() - standing(frame, method, "worst-case").mean()
        assert bar.get_width() == pytest.approx(100 * gap)
        assert bool(bar.get_hatch()) == (method == "mart-ancra")


def test_the_map_of_classes_has_the_share_of_each_class_that_stands():
    frame = results(["trades", "mart"])
    shown = accuracy_by_class(comparison(frame), source(frame)).axes[0].images[0].get_array()
    for method, row in zip(["trades", "mart"], shown, strict=True):
        stands = standing(frame, method, "worst-case")
        assert list(row) == pytest.approx([100 * stands[label == LABELS].mean() for label in range(10)])


@pytest.mark.parametrize(
    ("points", "largest", "expected"),
    [
        ([(1, 5), (2, 4), (3, 3), (2, 3)], True, [(1, 5), (2, 4), (3, 3)]),
        ([(1, 5), (2, 6), (3, 6)], True, [(3, 6)]),
        ([(1, 5), (2, 6), (3, 6)], False, [(1, 5), (2, 6)]),
    ],
)
def test_the_front_is_what_nothing_beats_in_both(points, largest, expected):
    assert front(points, largest=largest) == expected


def test_published_points_are_hollow_named_as_such_and_not_of_the_front():
    claims = [
        Claim("pgd-at", "digits", "small-cnn", "Linf 0.2", name, share, "a paper", "")
        for name, share in (("natural", 0.99), ("autoattack", 0.95))
    ]
    frame = results(["trades", "mart"])
    with_claim = natural_and_robust(comparison(frame), source(frame, claims=claims)).axes[0].lines
    without = natural_and_robust(comparison(frame), source(frame)).axes[0].lines
    assert len(with_claim) == len(without) + 1
    (hollow,) = [line for line in with_claim if line.get_markerfacecolor() == "none"]
    assert (list(hollow.get_xdata()), list(hollow.get_ydata())) == ([99.0], [95.0])
    elsewhere = [replace(claim, threat="Linf 0.1") for claim in claims]
    assert len(natural_and_robust(comparison(frame), source(frame, claims=elsewhere)).axes[0].lines) == len(without)


def test_costs_are_hours_where_they_are_known_else_passes():
    """36 s an epoch for 200 epochs are two hours; 20 forward and 10 backward passes of seven attacks are 210."""
    frame, long = results(["trades"]), epochs(["trades"], number=200)
    axes = cost_and_robustness(comparison(frame), Source(frame, long)).axes[0]
    assert (axes.get_xlabel(), axes.lines[-1].get_xdata()[0]) == ("training hours", pytest.approx(2.0))
    axes = cost_and_robustness(comparison(frame), Source(frame, long[:0])).axes[0]
    assert (axes.get_xlabel(), axes.lines[-1].get_xdata()[0]) == ("passes/example", pytest.approx(210.0))


def test_steps_need_three_lengths_and_stand_beside_the_strong_attacks():
    frame = results(["trades"], attacks=("natural", "pgd-100", "pgd-5", "pgd-20", "autoattack-fast", "adaptive"))
    figure = steps_curve(comparison(frame), source(frame))
    curve, *levels = figure.axes[0].lines
    assert [text.get_text() for text in figure.legends[0].texts] == ["PGD", "autoattack-fast", "adaptive"]
    assert list(curve.get_xdata()) == [5, 20, 100]
    assert list(curve.get_ydata()) == pytest.approx(
        [100 * standing(frame, "trades", f"pgd-{n}").mean() for n in (5, 20, 100)]
    )
    expected = [100 * standing(frame, "trades", name).mean() for name in ("autoattack-fast", "adaptive")]
    assert [line.get_ydata()[0] for line in levels] == pytest.approx(expected)
    assert steps_curve(comparison(results(["trades"])), source(frame)) is None


def test_histograms_are_densities_of_all_images_in_the_same_twenty_bins():
    frame, own = results(["trades", "mart"]), [features("trades"), features("mart")]
    figure = feature_distances(comparison(frame), source(frame, ["trades", "mart"]))
    shown = ["own_distance", "own_cosine", "other_distance", "other_cosine"]
    for axes, name in zip(figure.axes, shown, strict=True):
        for steps, each in zip(axes.patches, own, strict=True):
            heights, edges, _ = steps.get_data()
            assert len(heights) == 20
            assert (heights * np.diff(edges)).sum() == pytest.approx(1.0)
            first = (getattr(each, name) < edges[1]).mean() / (edges[1] - edges[0])
            assert heights[0] == pytest.approx(first, rel=0.05)


def test_a_map_has_a_panel_for_each_method_with_every_image():
    frame = results(["trades", "mart"])
    figure = feature_map(comparison(frame), source(frame, ["trades", "mart"]))
    for axes, method in zip(figure.axes, ["trades", "mart"], strict=True):
        assert np.allclose(axes.collections[0].get_offsets(), features(method).embedding)


def test_examples_are_of_the_strongest_attack_and_the_difference_is_magnified_to_the_full_range(tmp_path):
    natural, files = np.full((32, 1, 4, 4), 102, dtype=np.uint8), JobFiles(tmp_path / "features-x")
    files.directory.mkdir()
    np.save(files.images, natural)
    frame = results(["trades"], attacks=("natural", "fgsm", "adaptive"))
    frame["evaluate_id"] = [None if each == "worst-case" else f"evaluate-{each}" for each in frame["attack"]]
    for attack, pixel in (("fgsm", 1.0), ("adaptive", 0.5)):
        evaluation = JobFiles(tmp_path / f"evaluate-{attack}")
        evaluation.directory.mkdir()
        images = np.full((2, 1, 4, 4), pixel, dtype=np.float32)
        np.savez(evaluation.adversarial, positions=np.array([3, 40]), images=images)
    figure = adversarial_examples(comparison(frame), source(frame, ["trades"], jobs=tmp_path))
    strip = figure.axes[0].images[0].get_array()[:, :, 0]
    assert [strip[2, 3 + 6 * place] for place in range(4)] == pytest.approx([0.4, 0.5, 1.0, 1.0])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()][:3] == ["natural", "attacked", "× 5"]
    assert adversarial_examples(comparison(frame), source(frame, ["trades"])) is None


def test_a_large_table_is_drawn_of_its_best_methods_and_says_so():
    names = [f"m{number:02d}" for number in range(40)]
    frame = results(names)
    table = comparison(frame)
    best = sorted(table.rows, key=lambda row: -row.cells["worst-case"].accuracy)[:13]
    figure = accuracy_bars(table, source(frame, names))
    assert "the best 13 of 40 by worst case" in figure.axes[0].get_title()
    shown = {bars.get_label() for bars in figure.axes[0].containers if hasattr(bars, "patches")}
    assert len(shown) == 13
    assert (
        min(row.cells["worst-case"].accuracy for row in table.rows if row.method in shown)
        == best[-1].cells["worst-case"].accuracy
    )


LONG = ["a-plugin-method-with-a-name-of-some-length", "pgd-at", "x" * 90]


@pytest.mark.parametrize(
    "methods",
    [["trades"], LONG, pytest.param([f"method-{number}" for number in range(30)], marks=pytest.mark.slow)],
    ids=["one", "long", "thirty"],
)
def test_nothing_overlaps_whatever_the_methods(methods):
    frame = results(methods, attacks=("natural", "fgsm", "pgd-5", "pgd-20", "pgd-100", "autoattack", "adaptive"))
    of, table = source(frame, methods), comparison(frame)
    for kind in FIGURES:
        figure = kind.draw(table, of)
        assert figure is None or overlapping(figure) == [], kind.name


def test_a_legend_of_many_long_names_leaves_room_for_the_points():
    names = [f"trades (beta={number}.25, epochs=120)" for number in range(40)]
    frame = results(names, attacks=("natural", "autoattack"))
    claims = [
        Claim("best-without-extra-data", "digits", "small-cnn", "Linf 0.2", attack, 0.5, "a paper", "")
        for attack in ("natural", "autoattack")
    ]
    assert overlapping(natural_and_robust(comparison(frame), source(frame, names, claims=claims))) == []


def test_names_are_text_whatever_they_hold():
    frame = results([*HOSTILE, "$a^b$", "_hidden"])
    drawn = draw(source(frame, [*HOSTILE, "$a^b$", "_hidden"]), ["waterfall", "natural-robust"])
    assert len(drawn.files) == 4


def test_figures_are_of_one_setting_unless_they_are_named():
    """Of the largest that was trained for its threat; what cannot be drawn is said."""
    frames = [results(METHODS[: 1 + number], dataset=f"data{number}") for number in range(3)]
    tables = [comparison(frame) for frame in frames]
    assert of_most_interest(tables) == tables[2]
    assert of_most_interest([tables[0], replace(tables[2], trained=("Linf 0.1",)), tables[1]]) == tables[1]
    of = Source(pd.concat(frames), epochs(METHODS), tables)
    named = draw(of, ["waterfall", "classes"])
    assert {name.rpartition(".")[0] for name in named.files} == {f"waterfall_{table.slug}" for table in tables}
    assert (named.lacking, named.left_out) == ({"classes": "labels: harness run --features"}, [])
    alone = draw(replace(of, history=of.history[:0]))
    assert {name.split("_")[1] for name in alone.files} == {"data2"}
    assert alone.left_out == [tables[0].setting, tables[1].setting]
    with pytest.raises(UnknownName, match=r"unknown figure 'waterfal'\. Did you mean 'waterfall'"):
        draw(of, ["waterfal"])


def test_equal_results_give_equal_files_of_every_figure():
    frame = results(["trades"], attacks=("natural", "pgd-5", "pgd-20", "pgd-100", "autoattack", "adaptive"))
    first, second = draw(source(frame)).files, draw(source(frame.copy())).files
    assert {name.partition("_")[0] for name in first} == {kind.name for kind in FIGURES} - {"security", "examples"}
    assert first == second
