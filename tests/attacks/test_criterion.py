"""Who says whether a search has fooled the model: deterministic models and random ones."""

import torch
from defended import Behind, Coin, Recorder
from oracles import fooled, linear_case, untrained

from harness.api.threat import Threat
from harness.attacks.search.criterion import Criterion
from harness.compute.passes import counting

CASE = linear_case(Threat("Linf", 0.05), 2)


def test_an_honest_model_is_asked_again_about_successes_alone():
    model, x, y = untrained()
    with counting(model) as count:
        criterion = Criterion(model, x)
    assert (criterion.classes, criterion.repeats, count().forwards) == (10, 1, 2 * 16)
    logits = model(x)
    with counting(model) as count:
        assert not fooled(criterion, x, y, logits).any()
        assert count().forwards == 0
        assert fooled(criterion, x, (y + 1) % 10, logits).all()
        assert count().forwards == len(x)


def test_a_success_is_believed_when_a_question_without_a_gradient_confirms_it():
    model, x, y = untrained()
    criterion, lies = Criterion(model, x), -model(x)
    assert not fooled(criterion, x, y, lies).any()
    assert fooled(criterion, x, y, lies.detach()).all()


def test_a_random_model_is_asked_five_times():
    model = Recorder(Coin(CASE.model, 0.5))
    criterion = Criterion(model, CASE.x)
    assert criterion.repeats == 5
    logits, nobodys = model(CASE.x), torch.full_like(CASE.y, 5)
    model.seen.clear()
    assert fooled(criterion, CASE.x, nobodys, logits).all()
    assert len(model.seen) == 4  # the logits were the first answer


def test_an_answer_for_whoever_wants_a_gradient_is_not_believed():
    """The decoy is wrong about every image, the answer to all others right."""
    model = Behind(CASE.model, before=lambda x: 1 - x if torch.is_grad_enabled() else x)
    criterion, images = Criterion(model, CASE.x), CASE.x.clone().requires_grad_()
    assert criterion.repeats == 1
    decoy = model(images)
    assert (decoy.argmax(1) != CASE.y).all()
    assert not fooled(criterion, images, CASE.y, decoy).any()
    assert not fooled(criterion, images, CASE.y).any()
