"""Each finding in a case where it must fire and in one where it must not."""

import subprocess
import sys
from dataclasses import replace

import pytest

from harness.api.errors import UnknownName
from harness.trust.checks import CHECKS, checks_table
from harness.trust.evidence import Evidence
from harness.trust.findings import diagnose, verdict_of
from harness.trust.probes import Probes

# FACTS of digits, Linf 0.2: an honest model and one with reverse attention.
HONEST = {"natural": 0.994, "fgsm": 0.81, "pgd-20": 0.779, "autoattack": 0.690, "adaptive": 0.690}
MASKED = {"natural": 0.992, "fgsm": 0.90, "pgd-20": 0.891, "autoattack": 0.795, "adaptive": 0.694}
CURVE = {"0.25": 0.96, "0.5": 0.93, "1": 0.7, "2": 0.0, "4": 0.0, "box": 0.0}


def attacked(**accuracy):
    return Evidence(HONEST | {name.replace("_", "-"): value for name, value in accuracy.items()}, 10_000)


def broken(attack, **parts):
    return Evidence(HONEST, 10_000, broken_by={attack: {name.replace("_", "-"): n for name, n in parts.items()}})


def transferred(count):
    parts = {"cross-entropy on model": 900, "cross-entropy on transfer:pgd-at": count, "targeted dlr on model": 300}
    return Evidence(HONEST, 10_000, broken_by={"adaptive": parts})


def probed(**fields):
    """On 10,000 examples chance is 0.02 points, so that the limits themselves are what is tested."""
    return Evidence(HONEST, 10_000, probes=Probes(**{"examples": 10_000, "attacked": 10_000, "curve": CURVE} | fields))


def found(evidence, limits=None):
    return {finding.code: finding.severity for finding in diagnose(evidence, limits or {})}


# Code, evidence that must not fire, that must be suspect, and that must be masked (None: the check never says so).
CASES = [
    ("adversarial-above-natural", attacked(pgd_20=0.779), None, attacked(natural=0.60, fgsm=0.8)),
    ("fgsm-beats-pgd", attacked(fgsm=0.77), None, attacked(fgsm=0.76)),
    ("pgd-far-above-autoattack", attacked(fgsm=0.86, pgd_20=0.83), attacked(fgsm=0.86, pgd_20=0.85), None),
    ("apgd-t-far-below-apgd-ce", broken("autoattack", apgd_t=1490), broken("autoattack", apgd_t=1510), None),
    ("apgd-t-far-below-apgd-ce", broken("autoattack", fab_t=1510), broken("autoattack", apgd_dlr=1510), None),
    ("adaptive-below-autoattack", attacked(adaptive=0.68), attacked(adaptive=0.67), attacked(adaptive=0.65)),
    (
        "black-box-wins",
        broken("autoattack", square=20),
        broken("autoattack", square=30),
        broken("autoattack", square=210),
    ),
    ("transfer-wins", transferred(90), transferred(110), transferred(310)),
    (
        "unconfirmed-success",
        Evidence(HONEST, 10_000, lost={"pgd-20": 50, "autoattack": 90}),
        Evidence(HONEST, 10_000, lost={"pgd-20": 50, "autoattack": 110}),
        None,
    ),
    ("weak-evaluation", Evidence(HONEST, 9), Evidence({"natural": 1.0, "autoattack": 0.5}, 9), None),
    (
        "zero-gradient",
        probed(zero_gradient_clean=0.019),
        probed(zero_gradient_clean=0.03),
        probed(gradient_reaches=False),
    ),
    ("zero-gradient", probed(), probed(zero_gradient_start=0.03), probed(zero_gradient_start=0.51)),
    (
        "vanishing-gradient",
        probed(vanishing_gradient_clean=0.04),
        probed(vanishing_gradient_start=0.06),
        None,
    ),
    ("false-gradient", probed(foretold=0.91), probed(foretold=0.89), probed(foretold=0.49)),
    ("false-gradient", probed(foretold=1.0), probed(foretold=0.6), probed(foretold=-1.0)),
    ("shattered-gradient", probed(gradient_cosine=0.71), probed(gradient_cosine=0.69), None),
    ("unstable-loss", probed(loss_noise=0.09), probed(loss_noise=0.11), None),
    ("incomplete-optimisation", probed(incomplete=0.05), probed(incomplete=0.06), None),
    ("silent-success", probed(silent=0.02), probed(silent=0.03), None),
    ("more-steps-win", probed(more_steps=0.06), probed(more_steps=0.07), None),
    ("restarts-win", probed(restarts=0.09), probed(restarts=0.1), None),
    ("noise-wins", probed(noise=0.01), probed(noise=0.02), probed(noise=0.04)),
    ("unbounded-attack-fails", probed(), probed(curve={"4": 0.03, "box": 0.03}), probed(curve={"4": 0.2, "box": 0.2})),
    ("not-monotone", probed(curve={"4": 0.0, "box": 0.02}), None, probed(curve={"0.5": 0.3, "1": 0.5, "box": 0.0})),
    ("not-monotone", probed(), probed(curve={"box": 0.0, "4": 0.55, "2": 0.5}), None),
    ("randomised-forward", probed(forward_spread=9e-5), probed(forward_spread=2e-4), None),
    ("depends-on-batch", probed(in_pairs=0.04), probed(in_pairs=0.06), None),
    ("answers-otherwise", probed(otherwise=0.1), probed(otherwise=0.11), probed(otherwise=0.51)),
    ("softmax-output", probed(), probed(softmax_output=True), None),
    ("dynamic-forward", probed(), probed(autograd_calls=1), None),
    (
        "nothing-to-attack",
        replace(probed(classes=10), accuracy=dict.fromkeys(HONEST, 0.12)),
        replace(probed(classes=10), accuracy=dict.fromkeys(HONEST, 0.1)),
        None,
    ),
]


@pytest.mark.parametrize(("code", "quiet", "suspect", "masked"), CASES, ids=[case[0] for case in CASES])
def test_every_finding_fires_above_its_limit_and_not_below(code, quiet, suspect, masked):
    assert found(quiet) == {}
    for severity, evidence in (("suspect", suspect), ("masked", masked)):
        if evidence is not None:
            assert found(evidence) == {code: severity}
            (finding,) = diagnose(evidence)
            assert finding.message
            assert finding.evidence
            assert finding.advice
            assert "{" not in finding.message


def test_every_check_of_the_table_is_tested():
    assert {case[0] for case in CASES} == CHECKS.keys()
    severities = {
        (code, severity) for code, _, *fires in CASES for severity, case in zip("sm", fires, strict=True) if case
    }
    limits = {(code, "s") for code, row in CHECKS.items() if row.suspect is not None}
    assert severities == limits | {(code, "m") for code, row in CHECKS.items() if row.masked is not None}


def test_an_honest_model_is_trusted():
    assert diagnose(Evidence(HONEST, 10_000)) == []
    assert verdict_of([]) == "trusted"


def test_ten_points_lost_to_the_adaptive_attack_are_masking():
    findings = diagnose(Evidence(MASKED, 10_000))
    assert [finding.code for finding in findings] == ["adaptive-below-autoattack"]
    assert verdict_of(findings) == "masked"
    assert "10.10 points" in findings[0].message


def test_the_worst_finding_is_the_verdict():
    weak = replace(attacked(fgsm=0.70), accuracy={"natural": 0.99, "pgd-20": 0.8, "fgsm": 0.7})
    assert found(weak) == {"fgsm-beats-pgd": "masked", "weak-evaluation": "suspect"}
    assert verdict_of(diagnose(weak)) == "masked"


def test_the_strongest_of_several_pgds_counts():
    assert found(attacked(pgd_20=0.83, pgd_100=0.75)) == {}


@pytest.mark.parametrize("name", ["pgd", "pgd:steps=20", "pgd-100:restarts=5"])
def test_every_pgd_is_a_pgd(name):
    accuracy = {key: value for key, value in HONEST.items() if key != "pgd-20"} | {"fgsm": 0.70, name: 0.78}
    assert found(Evidence(accuracy, 10_000)) == {"fgsm-beats-pgd": "masked"}


@pytest.mark.parametrize("missing", ["autoattack", "adaptive"])
def test_a_weak_evaluation_is_never_trusted(missing):
    (finding,) = diagnose(Evidence({name: value for name, value in HONEST.items() if name != missing}, 10_000))
    assert (finding.code, finding.severity) == ("weak-evaluation", "suspect")
    assert f"missing: {missing};" in finding.evidence


@pytest.mark.parametrize("name", ["autoattack-fast", "autoattack-fast:audit=300"])
def test_the_fast_form_speaks_where_autoattack_is_missing_and_vouches_for_nothing(name):
    """It spares examples: what it finds counts against a model, what it does not find is no AutoAttack."""
    honest = {name if attack == "autoattack" else attack: value for attack, value in HONEST.items()}
    assert found(Evidence(honest, 10_000)) == {"weak-evaluation": "suspect"}
    masked = {name if attack == "autoattack" else attack: value for attack, value in MASKED.items()}
    assert found(Evidence(masked, 10_000))["adaptive-below-autoattack"] == "masked"
    broken_by = {name: {"apgd-ce": 1, "apgd-t": 100, "square": 300}}
    assert found(Evidence(honest, 10_000, broken_by=broken_by))["black-box-wins"] == "masked"
    both = Evidence(HONEST | {name: 0.9}, 10_000, broken_by=broken_by)
    assert found(both) == {}


def test_a_gap_of_two_examples_is_chance():
    """On 50 examples, two are 4 points: no finding; on 10,000 the same gap is masking."""
    accuracy = HONEST | {"adaptive": HONEST["autoattack"] - 0.04}
    assert found(Evidence(accuracy, 50)) == {}
    assert found(Evidence(accuracy, 10_000)) == {"adaptive-below-autoattack": "masked"}


def test_chance_is_reckoned_on_the_examples_that_were_probed():
    """Two of 50 attacked examples, whatever the number that the accuracies are of."""
    assert found(probed(attacked=50, examples=50, noise=0.04)) == {}
    assert found(probed(attacked=50, examples=50, noise=0.06)) == {"noise-wins": "suspect"}


def test_limits_are_settings():
    gap = attacked(adaptive=0.67)
    assert found(gap, {"adaptive-below-autoattack.suspect": 2.5}) == {}
    assert found(gap, {"adaptive-below-autoattack.masked": 1.9}) == {"adaptive-below-autoattack": "masked"}
    assert found(attacked(fgsm=0.775), {"fgsm-beats-pgd.suspect": 0.3}) == {"fgsm-beats-pgd": "suspect"}


def test_a_limit_of_no_check_is_an_error():
    with pytest.raises(UnknownName, match=r"unknown limit 'noise-win.suspect'. Did you mean 'noise-wins.suspect'"):
        diagnose(Evidence(HONEST, 10_000), {"noise-win.suspect": 1.0})


def test_the_table_has_a_row_for_every_check():
    head, line, *rows = checks_table().splitlines()
    assert head.count("|") == line.count("|") == 7
    assert [row.split("`")[1] for row in rows] == list(CHECKS)
    assert all(row.count("|") == 7 for row in rows)
    assert "| 1.5 | 3 | points |" in next(row for row in rows if "adaptive-below-autoattack" in row)


def test_judging_needs_no_torch():
    code = "import sys, harness.trust.findings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_authors_autoattack_stands_in_where_only_that_was_run():
    """The same numbers under the other name give the same findings; where both were run, ours speaks."""
    broken_by = {"autoattack": {"apgd-ce": 1, "apgd-t": 1600, "square": 300}}
    ours = Evidence(MASKED, 10_000, broken_by=broken_by)
    renamed = {"autoattack-reference" if name == "autoattack" else name: value for name, value in MASKED.items()}
    theirs = Evidence(renamed, 10_000, broken_by={"autoattack-reference": broken_by["autoattack"]})
    assert found(theirs) == found(ours)
    assert {"adaptive-below-autoattack", "apgd-t-far-below-apgd-ce", "black-box-wins"} <= found(ours).keys()
    both = Evidence(HONEST | {"autoattack-reference": 0.1}, 10_000)
    assert "adaptive-below-autoattack" not in found(both)


@pytest.mark.parametrize(("natural", "chance"), [(0.0, True), (0.1, True), (0.104, True), (0.12, False), (1.0, False)])
def test_a_model_that_guesses_has_nothing_to_attack(natural, chance):
    """Of 10,000 examples and ten classes, Wilson's interval of 10.4 % reaches down to 10 %, that of 12 % does not."""
    evidence = replace(probed(classes=10), accuracy=dict.fromkeys(HONEST, natural))
    assert found(evidence) == ({"nothing-to-attack": "suspect"} if chance else {})


def test_a_second_look_names_the_usual_causes():
    evidence = replace(probed(classes=10, renamed=0.97, as_bytes=0.93), accuracy=dict.fromkeys(HONEST, 0.0))
    (finding,) = diagnose(evidence)
    assert "97.00 with the classes in another order: are the labels those of this model?" in finding.evidence
    assert "93.00 on images times 255: does the model divide by 255 itself?" in finding.evidence
