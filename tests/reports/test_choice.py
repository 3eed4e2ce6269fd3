"""What a reader chooses is what is shown, in that order and under those names."""

import pandas as pd
import pytest
from reports_example import HOSTILE, MASKED, epochs, results

from reports.choice import Choice, choose, grids
from results.errors import HarnessError


def shown(frame, **choice):
    wanted = Choice(**choice)
    return grids(choose(frame, wanted), epochs(), wanted)


def names(grid):
    return [line.name.text for line in grid.lines]


def headings(grid):
    return [column.heading for column in grid.columns]


def both():
    return pd.concat([results(), results(["trades"], dataset="mnist")], ignore_index=True)


def test_without_a_choice_everything_is_shown():
    assert [grid.title for grid in shown(both())] == [
        f"{dataset}, small-cnn, Linf 0.2: {checkpoint} checkpoint"
        for dataset in ("digits", "mnist")
        for checkpoint in ("best", "last")
    ]


@pytest.mark.parametrize("style", ["full", "compact", "paper"])
def test_methods_and_columns_are_shown_in_the_order_in_which_they_are_named(style):
    columns = ["worst-case", "natural", "autoattack"]
    grid, *_ = shown(results(), style=style, methods=["trades", "mart", "natural"], columns=columns)
    assert [name.lower() for name in names(grid)] == ["trades", "mart", "natural"]
    assert [heading.lower().replace(" ", "-") for heading in headings(grid)] == columns


def test_differences_and_the_rank_are_columns_too():
    grid, _ = shown(results(), columns=["rank", "AA - worst"])
    assert headings(grid) == ["rank", "AA - worst"]
    assert not any("Ranges" in note or "Italic" in note for note in grid.notes)


def test_the_rank_is_among_the_methods_that_are_shown():
    grid, _ = shown(results(), methods=["mart", "natural"], columns=["rank"])
    assert [line.values[0].text for line in grid.lines] == ["1", "2"]


def test_methods_have_the_names_of_papers_or_those_that_the_reader_gives():
    frame = results(["pgd-at", "trades-ancra", "my-at"])
    for style, expected in {
        "full": ["pgd-at", "trades-ancra", "my-at"],
        "compact": ["PGD-AT", "TRADES-ANCRA", "my-at"],
        "paper": ["PGD-AT", "TRADES-ANCRA", "my-at"],
    }.items():
        assert names(shown(frame, style=style)[0]) == expected
        grid = shown(frame, style=style, methods=["my-at=Ours (b=2)", "pgd-at"])[0]
        assert names(grid)[0] == "Ours (b=2)"
        assert grid.lines[0].record["method"] == "my-at"


def test_a_name_with_an_equals_sign_is_a_name():
    grid = shown(results([HOSTILE[0], "trades"]), methods=[HOSTILE[0]])[0]
    assert names(grid) == [HOSTILE[0]]


def test_seeds_of_several_methods_and_protocols_stay_in_the_label():
    twice = pd.concat(
        [
            results(["trades"], seeds=(0, 1)),
            results(["trades"], draw=3).assign(protocol="4fee9c", train_id="train-4fee9c01d2"),
        ]
    )
    assert names(shown(twice, style="paper")[0]) == ["TRADES @a1b2c3 (n = 2)", "TRADES @4fee9c (n = 1)"]


def test_data_set_and_checkpoint_are_chosen():
    (grid,) = shown(both(), datasets=["mnist"], checkpoint="last")
    assert grid.title == "mnist, small-cnn, Linf 0.2: last checkpoint"
    (accuracy, *_) = shown(both(), style="paper", checkpoint="last")
    assert any("last checkpoint" in note for note in accuracy.notes)


def test_a_line_of_the_compact_style_is_mean_and_deviation_with_one_decimal():
    frame = results(["trades"], seeds=(0, 1, 2))
    own = frame.query("attack == 'cw' and checkpoint == 'best'")["accuracy"]
    grid, _ = shown(frame, style="compact", columns=["cw"])
    (value,) = grid.lines[0].values
    assert f"{value.text} {value.beside}" == f"{100 * own.mean():.1f} ± {100 * own.std(ddof=1):.1f}"
    assert not grid.stacked
    assert grid.lines[0].verdict.text == "trusted"


def test_a_caption_is_for_one_table():
    frame = both()
    assert shown(frame, datasets=["mnist"], checkpoint="best", caption="Ours")[0].title == "Ours"
    assert [grid.title for grid in shown(frame, style="paper", caption="Ours")][:2] == [
        "Ours",
        "Best and last checkpoint",
    ]
    with pytest.raises(
        HarnessError, match=r"a caption is for one table, the choice has 4: .*--dataset and --checkpoint"
    ):
        shown(frame, caption="Ours")


def test_without_notes_the_reasons_for_distrust_stay():
    for style in ("full", "compact", "paper"):
        assert not any(grid.notes for grid in shown(results(), style=style, notes=False))
        assert any(MASKED in reason for reason in shown(results(), style=style, notes=False)[0].footnotes.values())


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"methods": ["tardes"]}, r"unknown method 'tardes'\. Did you mean 'trades'\?"),
        ({"methods": ["tardes=Ours"]}, r"unknown method 'tardes'"),
        ({"datasets": ["mnits"]}, r"unknown data set 'mnits'\. Did you mean 'mnist'\?"),
        ({"checkpoint": "final"}, r"unknown checkpoint 'final'\. Known: best, last"),
        ({"columns": ["autoatack"]}, r"unknown column 'autoatack'\. Did you mean 'autoattack'\?.*rank"),
        ({"methods": ["mart"], "datasets": ["mnist"]}, "none of all that was chosen together"),
    ],
)
def test_what_is_not_there_is_an_error_with_what_is(choice, message):
    with pytest.raises(HarnessError, match=message):
        shown(both(), **choice)


def test_an_empty_frame_says_what_to_run():
    with pytest.raises(HarnessError, match="no results to report yet: run `harness run"):
        shown(results().iloc[:0])
