"""Attacks by name: every form that users may type, and what is said about the others."""

import pytest

from harness.api.errors import HarnessError, UnknownName
from harness.attacks import family, resolve
from harness.attacks.adaptive import Adaptive
from harness.attacks.autoattack import AutoAttack
from harness.attacks.cw import CW
from harness.attacks.fgsm import FGSM
from harness.attacks.natural import Natural
from harness.attacks.pgd import PGD
from harness.attacks.reference import AutoAttackReference


@pytest.mark.parametrize(
    ("name", "attack"),
    [
        ("natural", Natural()),
        ("fgsm", FGSM()),
        ("pgd", PGD(steps=20)),
        ("pgd-20", PGD(steps=20)),
        ("pgd-100:restarts=5", PGD(steps=100, restarts=5)),
        ("pgd-50:step_size=2/255", PGD(steps=50, step_size=2 / 255)),
        ("pgd-7:step_size=0.01:random_start=false", PGD(steps=7, step_size=0.01, random_start=False)),
        ("cw", CW(steps=30)),
        ("cw:steps=100", CW(steps=100)),
        ("cw-100:step_size=1/255", CW(steps=100, step_size=1 / 255)),
        ("autoattack", AutoAttack()),
        ("autoattack-reference", AutoAttackReference()),
        ("adaptive", Adaptive()),
        ("adaptive-50:targets=9", Adaptive(steps=50, targets=9)),
    ],
)
def test_a_name_stands_for_an_attack_with_its_parameters(name, attack):
    assert resolve(name) == attack
    assert family(name) == name.partition(":")[0].rstrip("0123456789-")


@pytest.mark.parametrize("name", ["pdg-20", "pdg", "pdg:steps=20"])
def test_an_unknown_attack_is_named_with_its_nearest(name):
    with pytest.raises(UnknownName, match=r"unknown attack 'pdg'\. Did you mean 'pgd'"):
        resolve(name)


def test_a_misspelt_parameter_is_named_with_its_nearest():
    with pytest.raises(UnknownName, match=r"attack 'pgd' 'restart'\. Did you mean 'restarts'"):
        resolve("pgd-20:restart=5")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pgd-20:restarts=many", "restarts: Input should be a valid integer.*, got 'many'"),
        ("pgd-20:step_size=2/0", "step_size: Input should be a valid number.*, got '2/0'"),
        ("pgd-20:restarts=1.5", "restarts: Input should be a valid integer.*, got '1.5'"),
        ("pgd-20:random_start=perhaps", "random_start: Input should be a valid boolean.*, got 'perhaps'"),
        ("pgd-20:5", "expected PARAMETER=VALUE after ':', got '5'"),
        ("pgd-20:steps=30", "sets steps twice"),
        ("pgd-0", "steps must be positive, got 0"),
        ("pgd-20:restarts=0", "restarts must be positive, got 0"),
        ("pgd-20:step_size=nan", "step_size must be positive, got nan"),
        ("pgd-20:restarts=2:random_start=no", "restarts=2 needs random_start"),
        ("cw:step_size=-1", "step_size must be positive, got -1"),
        ("adaptive:targets=0", "targets must be positive, got 0"),
        ("fgsm-3", "attack 'fgsm' has no parameters, got 'fgsm-3'"),
    ],
)
def test_a_bad_parameter_is_refused_with_what_was_given(name, message):
    with pytest.raises(HarnessError, match=message):
        resolve(name)
