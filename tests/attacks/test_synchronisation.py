"""A search looks up who has fallen once in a block of steps, so that a GPU is not waited for in between."""

from functools import partial

import pytest
import torch
from oracles import many_of_untrained, run
from synchronising import SEARCHES, Synchronisations, watch

from harness.api.threat import Threat
from harness.attacks import resolve
from harness.attacks.search import found, searches, square_moves
from harness.attacks.search.criterion import Criterion
from harness.attacks.search.searches import Searches
from harness.attacks.search.square import square
from harness.compute.modes import frozen
from harness.evaluation.verify import still_correct

CPU = torch.device("cpu")


def in_blocks(monkeypatch, steps):
    """Search as on a GPU: in blocks of so many steps."""
    for module in (found, square_moves):
        monkeypatch.setattr(module, "block", lambda _: steps)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("name", SEARCHES)
def test_no_step_waits(name, norm, monkeypatch):
    in_blocks(monkeypatch, 1000)
    with Synchronisations() as seen:
        watch(name, norm, CPU, seen.names.clear)
    assert seen.names == []


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("name", ["pgd-20", "cw-30", "adaptive-20", "apgd-t", "fab"])
def test_verdicts_and_images_are_those_of_single_steps(name, norm, monkeypatch):
    model, x, y = many_of_untrained(40)
    threat, outcomes = Threat(norm, 0.01 if norm == "Linf" else 0.1), {}
    for steps in (1, 10):
        in_blocks(monkeypatch, steps)
        outcomes[steps] = attacked(name, model, x, y, threat)
    assert torch.equal(outcomes[1][1], outcomes[10][1])
    assert 0 < outcomes[1][1].sum() < len(x)
    torch.testing.assert_close(outcomes[1][0], outcomes[10][0])


def attacked(name, model, x, y, threat):
    draws = torch.Generator().manual_seed(0)
    if name in SEARCHES:
        with frozen(model):
            return SEARCHES[name](Searches(Criterion(model, x), threat, draws), x, y)
    x_adv = run(resolve(name), model, x, y, threat)
    return x_adv, ~still_correct(model, x, y, x_adv, threat)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_square_breaks_as_many_in_blocks(norm, monkeypatch):
    """Its draws are other ones where they depend on how many stand."""
    model, x, y = many_of_untrained(100)
    threat, fell = Threat(norm, 0.006 if norm == "Linf" else 0.1), {}
    for steps in (1, 10):
        in_blocks(monkeypatch, steps)
        monkeypatch.setattr(searches, "square", partial(square, queries=300))
        x_adv, fell[steps] = attacked("square", model, x, y, threat)
        assert torch.equal(~still_correct(model, x, y, x_adv, threat), fell[steps])
    assert 10 < fell[1].sum() < 90
    assert (fell[1] ^ fell[10]).sum() <= (0 if norm == "Linf" else 4)


def test_of_the_claims_of_a_block_the_first_that_holds_counts(monkeypatch):
    """Five examples in three steps. What a search claims holds if it is above 0, when it is asked again."""
    in_blocks(monkeypatch, 3)
    images = torch.tensor([[-1.0, -1, 5, 1, 1], [2, -2, 6, 2, 2], [3, -3, 7, 3, 3]])
    claims = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 0, 1, 0]]).bool()
    each = found.Found(torch.zeros(5), lambda x_adv, _: x_adv > 0, group=torch.tensor([0, 1, 1, 2, 3]))
    for x_adv, wrong in zip(images, claims, strict=True):
        assert not each.due
        each.note(each.everyone, x_adv, found.Claim(wrong, doubtful=True))
    assert each.due
    assert each.standing(each.everyone).tolist() == [4]  # the second is a try at the image of the third
    each.leave(each.everyone, images[2])
    assert each.x_adv.tolist() == [2, -3, 5, 3, 3]
    assert each.fooled.tolist() == [True, False, True, True, False]


def test_on_a_cpu_every_step_is_a_block():
    assert found.block(CPU) == 1 < found.block(torch.device("cuda"))
