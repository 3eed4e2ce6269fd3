"""Every broken defence of the zoo is flagged and attacked down to its truth, and no honest model is flagged.

Of a saboteur only the flag is asked.

One defence of each family and three honest models with few examples; all of them, with more, in the zoo environment.
"""

import pytest
from zoo import BROKEN, HONEST, evaluate_member
from zoo.table import MARGIN

FEW, MANY = 32, 48
pytestmark = pytest.mark.slow
FAMILIES = {
    "input rounding": "quantised",
    "shattered gradients": "shattered",
    "masking activations": "sign",
    "saturated logits": "saturated-at",
    "randomised": "resized",
    "probabilities as output": "softmax",
    "gated by the argmax": "boosted-at",
    "false gradient": "decoy",
}
# Near the boundary its ripple is right half of the time, where five wrong answers in a row are asked for.
RIGHT_BY_LUCK = "random-ripple-at"
HONEST_SAMPLE = ["natural", "pgd-at", "linear"]


def assert_flagged_and_broken(zoo, name, examples):
    row = evaluate_member(BROKEN[name], zoo, 0, examples)
    assert row.verdict in {"masked", "suspect"}
    rounding = (3 if name == RIGHT_BY_LUCK else 1) / MANY
    assert BROKEN[name].saboteur or row.gap <= MARGIN + rounding, row.accuracy


def assert_trusted(zoo, name, examples):
    row = evaluate_member(HONEST[name], zoo, 0, examples)
    assert row.verdict == "trusted", row.codes


@pytest.mark.parametrize("family", FAMILIES)
def test_of_each_family_a_broken_defence_is_flagged_and_its_worst_case_is_the_truth(zoo, family):
    assert_flagged_and_broken(zoo, FAMILIES[family], FEW)


def test_a_saboteur_is_flagged_for_what_it_does(zoo):
    """Its probes tell, whatever attacks it; with all of them in the zoo environment."""
    row = evaluate_member(BROKEN["evasive"], zoo, 0, FEW, ["fgsm"])
    assert row.verdict == "masked"
    assert "answers-otherwise" in row.codes


@pytest.mark.parametrize("name", HONEST_SAMPLE)
def test_an_undefended_a_robust_and_a_linear_model_are_trusted(zoo, name):
    assert_trusted(zoo, name, FEW)


@pytest.mark.zoo
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_defence_is_flagged_and_its_worst_case_is_the_truth(zoo, name):
    assert_flagged_and_broken(zoo, name, MANY)


@pytest.mark.zoo
@pytest.mark.parametrize("name", HONEST)
def test_an_honest_model_is_trusted(zoo, name):
    assert_trusted(zoo, name, MANY)
