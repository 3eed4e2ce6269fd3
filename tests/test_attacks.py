"""Attacks on models whose robust accuracy is known, and what they leave behind."""

from itertools import pairwise

import pytest
import torch
from oracles import boxed_linf_case, linear_case, run, untrained

from harness.attacks import resolve
from harness.attacks.cw import CW
from harness.attacks.losses import cross_entropy, dlr, margin, targeted_dlr
from harness.attacks.pgd import PGD
from harness.registry import attacks
from harness.threat import Threat
from harness.verification import still_correct

THREATS = [Threat("Linf", 0.05), Threat("L2", 0.3)]
QUICK = ["fgsm", "pgd-20", "pgd-20:restarts=3", "cw", "adaptive"]


@pytest.fixture
def network():
    return untrained()


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("classes", [2, 3, 4, 10])
@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_a_linear_model_keeps_exactly_the_examples_beyond_the_margin(threat, classes, name):
    """The nearest boundary is |z_0 - z_1| over the dual norm away, 5 to 20 % to either side of eps."""
    case = linear_case(threat, classes)
    x_adv = run(resolve(name), case.model, case.x, case.y, threat)
    assert still_correct(case.model, case.x, case.y, x_adv, threat).tolist() == case.robust.tolist()


@pytest.mark.parametrize("name", ["fgsm", "pgd-20", "cw", "adaptive"])
def test_the_bounds_of_the_image_limit_an_attack_as_the_closed_form_says(name):
    case = boxed_linf_case(Threat("Linf", 0.05))
    x_adv = run(resolve(name), case.model, case.x, case.y, case.threat)
    verdict = still_correct(case.model, case.x, case.y, x_adv, case.threat)
    assert torch.equal(verdict, case.robust)
    assert 0 < verdict.sum() < len(verdict)


@pytest.mark.parametrize("name", ["natural", "fgsm", "pgd-5:restarts=3", "cw", "adaptive-20"])
@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_an_attack_stays_in_the_ball_is_repeatable_and_leaves_the_model_as_it_was(threat, name, network):
    model, x, y = network
    model.train()
    model[2].eval()
    model[0].weight.requires_grad_(False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    x_adv, again = (run(resolve(name), model, x, y, threat) for _ in range(2))
    assert threat.contains(x, x_adv).all()
    assert torch.equal(x_adv, again)
    assert not x_adv.requires_grad
    assert [module.training for module in model] == [True, True, False, True, True]
    assert [parameter.requires_grad for parameter in model.parameters()] == [False] + 5 * [True]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_natural_is_the_image_itself(network):
    model, x, y = network
    assert torch.equal(run(resolve("natural"), model, x, y, THREATS[0]), x)


def test_a_restart_keeps_what_an_earlier_one_fooled(network):
    """Steps so short that the random start decides: each restart fools others, and the survivors only ever shrink."""
    model, x, y = network
    threat = Threat("Linf", 0.1)
    left = [
        still_correct(model, x, y, run(PGD(steps=1, restarts=n, step_size=1e-4), model, x, y, threat), threat)
        for n in range(1, 7)
    ]
    assert all((later <= earlier).all() for earlier, later in pairwise(left))
    assert left[-1].sum() < left[0].sum()


@pytest.mark.parametrize("attack", [CW, PGD])
def test_an_example_stops_moving_at_the_first_iterate_that_fools(attack):
    """A step of 0.02 changes a linear margin by 0.02 times the L1 norm of the weights' difference."""
    case = linear_case(Threat("Linf", 0.1), 2)
    stops = attack(step_size=0.02, random_start=False)
    reached = margin(case.model(run(stops, case.model, case.x, case.y, Threat("Linf", 0.3))), case.y)
    one_step = 0.02 * case.model.weight.diff(dim=0).abs().sum()
    assert (reached > 0).all()
    assert (reached <= one_step + 1e-4).all()


def test_the_losses_agree_with_their_equations():
    """Sorted by hand: z = (1, 4, 2, 0.5, 3), so pi = (1, 4, 2, 0, 3)."""
    z = torch.tensor([[1.0, 4.0, 2.0, 0.5, 3.0]]).repeat(2, 1)
    y = torch.tensor([1, 2])
    assert margin(z, y).tolist() == [3.0 - 4.0, 4.0 - 2.0]
    assert dlr(z, y).tolist() == pytest.approx([-(4 - 3) / (4 - 2), -(2 - 4) / (4 - 2)])
    target = torch.tensor([0, 3])
    assert targeted_dlr(z, y, target).tolist() == pytest.approx([-(4 - 1) / (4 - 1.5), -(2 - 0.5) / (4 - 1.5)])
    assert cross_entropy(z, y).tolist() == pytest.approx((z.exp().sum(1).log() - torch.tensor([4.0, 2.0])).tolist())


def test_every_attack_describes_itself():
    assert {"natural", "fgsm", "pgd", "cw", "autoattack", "adaptive"} <= set(attacks)
    assert all(attack.summary for _, attack in attacks.items())
