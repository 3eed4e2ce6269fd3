"""Who says whether a search has fooled the model: honest, random and evasive ones."""

import pytest
import torch
from defended import BEFORE, Behind, Coin, Recorder, derive
from oracles import linear_case, run, untrained
from torch import Tensor

from harness.api.threat import Threat
from harness.attacks import resolve
from harness.attacks.search.judge import Judge
from harness.compute.passes import counting
from harness.evaluation.verify import still_correct

CASE = linear_case(Threat("Linf", 0.05), 2)
DECOYS = [name for name in BEFORE if name.startswith("decoy")]


def test_an_honest_model_is_asked_again_about_successes_alone():
    model, x, y = untrained()
    with counting(model) as count:
        judge = Judge(model, x)
    assert (judge.classes, judge.repeats, judge.evasive, count()) == (10, 1, False, 2 * 16)
    logits = model(x)
    with counting(model) as count:
        assert not judge.fooled(x, y, logits).any()
        assert count() == 0
        assert judge.fooled(x, (y + 1) % 10, logits).all()
        assert count() == len(x)


def test_a_success_is_believed_when_a_question_without_a_gradient_confirms_it():
    model, x, y = untrained()
    judge, lies = Judge(model, x), -model(x)
    assert not judge.fooled(x, y, lies).any()
    assert judge.fooled(x, y, lies.detach()).all()


def test_answers_of_another_type_where_a_gradient_is_wanted_are_compared_by_their_values():
    model = Behind(CASE.model, after=lambda z: z.double() if torch.is_grad_enabled() else z)
    assert not Judge(model, CASE.x).evasive


def test_a_random_model_is_asked_five_times_and_is_not_evasive():
    model = Recorder(Coin(CASE.model, 0.5))
    judge = Judge(model, CASE.x)
    assert (judge.repeats, judge.evasive) == (5, False)
    logits, nobodys = model(CASE.x), torch.full_like(CASE.y, 5)
    model.seen.clear()
    assert judge.fooled(CASE.x, nobodys, logits).all()
    assert len(model.seen) == 4  # the logits were the first answer


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


@pytest.mark.parametrize("attack", ["autoattack", "adaptive"])
def test_a_decoy_for_images_that_were_moved_is_seen_through(attack):
    """On the images as they are, the model answers alike whether or not a gradient is wanted."""

    def wary(x: Tensor) -> Tensor:
        known = (x.flatten(1)[:, None] - CASE.x.flatten(1)).abs().amax(2).amin(1) < 1e-6
        return torch.where(known.view(-1, 1, 1, 1), x, 1 - x) if torch.is_grad_enabled() else x

    model = Behind(CASE.model, before=wary)
    assert not Judge(model, CASE.x).evasive
    views = derive(model, CASE.x, CASE.threat)
    x_adv = run(resolve(attack), model, CASE.x, CASE.y, CASE.threat, views)
    assert still_correct(model, CASE.x, CASE.y, x_adv, CASE.threat).tolist() == CASE.robust.tolist()
