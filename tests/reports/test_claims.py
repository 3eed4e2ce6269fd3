"""Published figures: the file that ships, a user's own, and how they stand beside measured ones."""

import csv
import io

import pytest
from reports_example import MASKED, epochs, results
from scipy.stats import ttest_1samp

from reports.choice import Choice, choose, grids
from reports.forms import to_csv
from reports.methods import BUILT_IN
from reports.published import FIELDS, read_published
from results.errors import HarnessError
from results.names import attack_rank, ordered_attacks

HEADER = ",".join(FIELDS)
SETTING = {"dataset": "cifar10", "model": "resnet18", "threat": "Linf 8/255"}


def beside(frame, own=None, **choice):
    """The grid of the claims and its records, by method and attack."""
    wanted = Choice(claims=read_published(own), **choice)
    (grid,) = grids(choose(frame.assign(**SETTING), wanted), epochs(), wanted)
    lines = list(csv.DictReader(io.StringIO(to_csv(grid))))
    return grid, {(line["method"], line["attack"]): line for line in lines}


def test_the_file_that_ships_has_sixty_figures_each_with_its_source():
    claims = read_published()
    assert len(claims) == 60
    assert len({(c.method, c.dataset, c.model, c.threat, c.attack, c.source) for c in claims}) == 60
    assert {claim.method for claim in claims} <= {*BUILT_IN, "best-without-extra-data"}
    assert {claim.dataset for claim in claims} == {"cifar10", "cifar100", "tiny-imagenet"}
    assert {claim.model for claim in claims} == {"resnet18", "preactresnet18", "wrn-28-10", "wrn-34-10"}
    assert {claim.threat for claim in claims} == {"Linf 8/255", "Linf 0.031"}
    attacks = ["natural", "fgsm", "pgd-20", "pgd-40", "cw", "autoattack"]
    assert ordered_attacks(claim.attack for claim in claims) == attacks
    assert all(0.15 < claim.accuracy < 0.9 and claim.source for claim in claims)


def test_a_users_own_figures_come_after_those_that_ship(tmp_path):
    """A spreadsheet's byte order mark and spaces around fields are no obstacle; another norm is named."""
    own = tmp_path / "own.csv"
    own.write_text(f"{HEADER}\ntrades, svhn ,resnet18,L2 0.5,autoattack,61.5,my thesis,\n", encoding="utf-8-sig")
    *shipped, mine = read_published(own)
    assert shipped == read_published()
    assert (mine.dataset, mine.threat, mine.accuracy, mine.source) == ("svhn", "L2 0.5", 0.615, "my thesis")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method,accuracy\ntrades,3\n", r"have the columns method,dataset,.*,note, got method,accuracy"),
        ("", "got none"),
        (f"{HEADER}\ntrades,svhn\n", "line 2: a published figure has 8 fields"),
        (f"{HEADER}\na,b,c,8/255,cw,1,s,n,more\n", "line 2: a published figure has 8 fields"),
        (f"{HEADER}\ntrades,svhn,resnet18,8/255,cw,50,,\n", "line 2: a published figure needs source"),
        (f"{HEADER}\ntrades,svhn,resnet18,8/255,cw,101,s,\n", r"line 2: accuracy must be in percent, .* got '101'"),
        (f"{HEADER}\ntrades,svhn,resnet18,8/255,cw,nan,s,\n", r"accuracy must be in percent, .* got 'nan'"),
        (f"{HEADER}\ntrades,svhn,resnet18,8/0,cw,50,s,\n", r"epsilon must be like 8/255, .* got '8/0'"),
        (f"{HEADER}\ntrades,svhn,resnet18,L1 8,cw,50,s,\n", r"epsilon must be like 8/255, .* got 'L1 8'"),
    ],
)
def test_a_wrong_file_is_named_with_its_line_and_field(tmp_path, text, message):
    own = tmp_path / "own.csv"
    own.write_text(text)
    with pytest.raises(HarnessError, match=message) as error:
        read_published(own)
    assert str(own) in str(error.value)


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(HarnessError, match=r"nowhere\.csv"):
        read_published(tmp_path / "nowhere.csv")


def test_claim_ours_interval_difference_and_whether_it_lies_inside(tmp_path):
    """Of 200 examples the interval is some 7 points wide to each side: 3 points off is inside, 20 is not."""
    frame = results(["my-at"])
    gaps = {"cw": 0.03, "fgsm": 0.2, "pgd-20": -0.2}
    ours = {attack: frame.query(f"attack == '{attack}' and checkpoint == 'best'").iloc[0] for attack in gaps}
    figures = {attack: f"{100 * (ours[attack]['accuracy'] - gap):.2f}" for attack, gap in gaps.items()}
    own = tmp_path / "own.csv"
    rows = [f"my-at,cifar10,resnet18,8/255,{attack},{figure},a paper," for attack, figure in figures.items()]
    own.write_text("\n".join([HEADER, *rows]))
    grid, lines = beside(frame, own, methods=["my-at"])
    for attack, gap in gaps.items():
        line = lines["my-at", attack]
        assert float(line["ours"]) == ours[attack]["accuracy"]
        assert (float(line["low"]), float(line["high"])) == (ours[attack]["ci_low"], ours[attack]["ci_high"])
        assert float(line["ours"]) - float(line["published"]) == pytest.approx(gap, abs=1e-9)
        assert line["source"] == "a paper"
    shown = {line.values[0].text: [value.text for value in line.values[1:]] for line in grid.lines}
    assert {name: (values[0], *values[3:5]) for name, values in shown.items()} == {
        "C&W": (figures["cw"], "+3.00", "yes"),
        "FGSM": (figures["fgsm"], "+20.00", "no"),
        "PGD-20": (figures["pgd-20"], "-20.00", "no"),
    }
    assert grid.footnotes["1"] == "a paper"


def test_ancra_has_its_adaptive_figure_and_its_dagger_beside_the_claim():
    frame = results(["trades-ancra"])
    grid, lines = beside(frame)
    adaptive = frame.query("attack == 'adaptive' and checkpoint == 'best'")["accuracy"].item()
    assert float(lines["trades-ancra", "autoattack"]["published"]) == 0.597
    assert float(lines["trades-ancra", "autoattack"]["adaptive"]) == adaptive
    assert lines["trades-ancra", "natural"]["adaptive"] == ""
    line = next(line for line in grid.lines if line.name.text == "TRADES-ANCRA")
    assert grid.footnotes[line.name.mark] == f"masked: {MASKED}"


def test_a_claim_without_a_measurement_stands_alone_in_its_setting():
    grid, lines = beside(results(["trades"]))
    assert lines["mart", "autoattack"]["ours"] == lines["best-without-extra-data", "autoattack"]["ours"] == ""
    assert {line["dataset"] for line in lines.values()} == {"cifar10"}
    order = [attack_rank(attack) for method, attack in lines if method == "trades"]
    assert order == sorted(order)
    sources = [line.values[1].mark for line in grid.lines]
    assert list(dict.fromkeys(sources)) == [str(number) for number in range(1, len(set(sources)) + 1)]
    assert list(dict.fromkeys(method for method, _ in lines))[:3] == ["pgd-at", "trades", "mart"]
    _, chosen = beside(results(["trades", "mart"]), methods=["mart"])
    assert {method for method, _ in chosen} == {"mart"}


def test_another_threat_model_or_data_set_is_no_match():
    """TRADES published at 0.031, which is not 8/255."""
    frame = results(["trades"]).assign(dataset="cifar10", model="wrn-34-10", threat="Linf 8/255")
    wanted = Choice(claims=read_published())
    (grid,) = grids(choose(frame, wanted), epochs(), wanted)
    assert {line.name.text for line in grid.lines} == {"PGD-AT", "TRADES-ANCRA"}
    with pytest.raises(
        HarnessError, match=r"none of 60 published figures is of .*, digits, small-cnn, Linf 0\.2: give"
    ):
        grids(choose(results(), wanted), epochs(), wanted)


def test_several_seeds_have_the_t_interval_of_their_mean():
    frame = results(["trades"], seeds=(0, 1, 2))
    _, lines = beside(frame)
    own = frame.query("attack == 'cw' and checkpoint == 'best'")["accuracy"]
    low, high = ttest_1samp(own, 0).confidence_interval(0.95)
    line = lines["trades", "cw"]
    assert (float(line["low"]), float(line["high"])) == pytest.approx((max(low, 0), min(high, 1)), abs=1e-12)
    assert float(line["ours"]) == pytest.approx(own.mean(), abs=1e-15)
