"""Each finding in a case where it must fire and in one where it must not."""

import pandas as pd
import pytest

from harness.diagnostics import annotate, diagnose, verdict_of

# FACTS: digits, Linf 0.2 (points): an honest model and one with reverse attention.
HONEST = {"natural": 0.994, "fgsm": 0.81, "pgd-20": 0.779, "autoattack": 0.690, "adaptive": 0.690}
MASKED = {"natural": 0.992, "fgsm": 0.90, "pgd-20": 0.891, "autoattack": 0.795, "adaptive": 0.694}


def codes(accuracy, warnings=()):
    return {finding.code for finding in diagnose(accuracy, 10_000, warnings)}


def test_an_honest_model_is_trusted():
    assert diagnose(HONEST, 10_000) == []
    assert verdict_of([]) == "trusted"


def test_ten_points_lost_to_the_adaptive_attack_are_masking():
    findings = diagnose(MASKED, 10_000)
    assert [finding.code for finding in findings] == ["adaptive-below-autoattack"]
    assert verdict_of(findings) == "masked"
    assert "10.10 points" in findings[0].message


@pytest.mark.parametrize(("gap", "verdict"), [(0.01, "trusted"), (0.02, "suspect"), (0.04, "masked")])
def test_the_adaptive_gap_has_two_thresholds(gap, verdict):
    accuracy = HONEST | {"adaptive": HONEST["autoattack"] - gap}
    assert verdict_of(diagnose(accuracy, 10_000)) == verdict


def test_fgsm_stronger_than_pgd_is_masking():
    assert codes(HONEST | {"fgsm": 0.70}) == {"fgsm-beats-pgd"}
    assert verdict_of(diagnose(HONEST | {"fgsm": 0.70}, 10_000)) == "masked"


def test_autoattack_far_below_pgd_is_suspect():
    assert codes(HONEST | {"fgsm": 0.86, "pgd-20": 0.83}) == {"pgd-far-above-autoattack"}


def test_the_strongest_of_several_pgds_counts():
    assert codes(HONEST | {"pgd-20": 0.83, "pgd-100": 0.75}) == set()


@pytest.mark.parametrize("missing", ["autoattack", "adaptive"])
def test_a_weak_evaluation_is_never_trusted(missing):
    accuracy = {name: value for name, value in HONEST.items() if name != missing}
    assert codes(accuracy) == {"weak-evaluation"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('it seems to be a randomized defense! Please use version="rand".', "randomised-forward"),
        ("it seems that the output is a probability distribution, please be sure", "softmax-output"),
        ("it seems to be a dynamic defense! The evaluation", "dynamic-forward"),
        ("there are 3 points with zero gradient! This might lead", "zero-gradient"),
        ("Square Attack has decreased the robust accuracy of 1.00%.", "black-box-wins"),
    ],
)
def test_autoattacks_five_warnings_become_findings(text, code):
    assert codes(HONEST, [text, text]) == {code}
    assert all(finding.evidence in text for finding in diagnose(HONEST, 10_000, [text]))


def test_a_verdict_is_shared_by_all_rows_of_one_model_and_by_no_other():
    rows = [
        {"train_id": train_id, "checkpoint": "best", "threat": "Linf 0.2", "attack": attack, "accuracy": accuracy}
        for train_id, case in (("honest", HONEST), ("masked", MASKED))
        for attack, accuracy in case.items()
    ]
    frame = annotate(pd.DataFrame(rows).assign(warnings="", examples=10_000))
    assert set(frame[frame.train_id == "honest"].verdict) == {"trusted"}
    assert set(frame[frame.train_id == "masked"].verdict) == {"masked"}
    assert all("10.10 points" in why for why in frame[frame.train_id == "masked"].why)


def test_a_gap_of_two_examples_is_chance():
    """On 50 examples, two are 4 points: no finding; on 10,000 the same gap is masking."""
    accuracy = HONEST | {"adaptive": HONEST["autoattack"] - 0.04}
    assert diagnose(accuracy, 50) == []
    assert verdict_of(diagnose(accuracy, 10_000)) == "masked"


@pytest.mark.parametrize("name", ["pgd", "pgd:steps=20", "pgd-100:restarts=5"])
def test_every_pgd_is_a_pgd(name):
    accuracy = {key: value for key, value in HONEST.items() if key != "pgd-20"} | {"fgsm": 0.70, name: 0.78}
    assert codes(accuracy) == {"fgsm-beats-pgd"}


def test_only_attacks_on_the_same_examples_are_compared():
    """An earlier trial of AutoAttack on 50 examples says nothing against adaptive on 200."""
    rows = [{"attack": attack, "accuracy": accuracy, "examples": 200} for attack, accuracy in HONEST.items()]
    trial = [{"attack": "autoattack", "accuracy": 0.9, "examples": 50}]
    frame = pd.DataFrame(trial + rows).assign(train_id="t", checkpoint="best", threat="Linf 0.2", warnings="")
    assert set(annotate(frame)["verdict"]) == {"trusted"}
