"""Who says whether a search has fooled the model: honest, random and evasive ones."""

import pytest
from defended import BEFORE, Behind, Coin
from oracles import linear_case, run, untrained

from harness.attacks import resolve
from harness.attacks.judging import Judge
from harness.evaluation import counting
from harness.threat import Threat
from harness.verification import still_correct

CASE = linear_case(Threat("Linf", 0.05), 2)
DECOYS = [name for name in BEFORE if name.startswith("decoy")]


def test_an_honest_model_is_asked_once_and_its_logits_are_taken():
    model, x, y = untrained()
    with counting(model) as count:
        judge = Judge(model, x)
    assert (judge.classes, judge.repeats, judge.evasive, count()) == (10, 1, False, 2 * 16)
    with counting(model) as count:
        assert judge.fooled(x, y, -model(x)).all()
    assert count() == len(x)


def test_a_random_model_is_asked_five_times_and_is_not_evasive():
    judge = Judge(Coin(CASE.model, 0.5), CASE.x)
    assert (judge.repeats, judge.evasive) == (5, False)


@pytest.mark.parametrize("name", DECOYS)
def test_an_answer_for_whoever_wants_a_gradient_is_not_believed(name):
    """The decoy is wrong about every image, the answer to all others right."""
    model = Behind(CASE.model, before=BEFORE[name])
    judge, images = Judge(model, CASE.x), CASE.x.clone().requires_grad_()
    assert (judge.repeats, judge.evasive) == (1, True)
    decoy = model(images)
    assert (decoy.argmax(1) != CASE.y).all()
    assert not judge.fooled(images, CASE.y, decoy).any()
    assert not judge.fooled(images, CASE.y).any()


@pytest.mark.parametrize("name", DECOYS)
def test_a_decoy_does_not_end_a_search(name):
    """AutoAttack's gradients lead nowhere; Square asks without, and breaks what the closed form says can be broken."""
    model = Behind(CASE.model, before=BEFORE[name])
    x_adv = run(resolve("autoattack"), model, CASE.x, CASE.y, CASE.threat)
    assert still_correct(model, CASE.x, CASE.y, x_adv, CASE.threat).tolist() == CASE.robust.tolist()
