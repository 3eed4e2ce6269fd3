"""Attacks on models whose robust accuracy is known, and what they leave behind."""

from itertools import pairwise

import pytest
import torch
from defended import Coin
from oracles import boxed_linf_case, linear_case, run, untrained
from torch import nn

from harness.api.attack import attacks
from harness.api.threat import Threat
from harness.attacks import resolve
from harness.attacks.cw import CW
from harness.attacks.losses import cross_entropy, dlr, margin, targeted_dlr
from harness.attacks.pgd import PGD
from harness.compute.ascent import ascend
from harness.evaluation.verify import still_correct

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


@pytest.mark.parametrize(("name", "loss"), [("pgd-20", cross_entropy), ("cw-20", margin)])
def test_an_attack_does_not_stop_at_a_lucky_look_at_a_random_model(name, loss):
    """It gets as far as steps that never stop; believing one look in three, it would get hardly anywhere."""
    case = linear_case(Threat("Linf", 0.05), 2, count=400)
    shares = []
    for attack in (resolve(name), None):
        model = Coin(case.model, 1 / 3)
        if attack:
            x_adv = run(attack, model, case.x, case.y, case.threat)
        else:
            start = case.threat.random_start(case.x, torch.Generator().manual_seed(0))
            x_adv = ascend(
                model, case.x, lambda z, m=model: loss(m(z), case.y).sum(), case.threat, start=start, steps=20
            )
        shares.append(float((case.model(x_adv).argmax(1) != case.y)[~case.robust].float().mean()))
    assert shares[1] > 0.2
    assert shares[0] > shares[1] - 0.05


class NotANumber(nn.Module):
    """Its gradient is 0 / 0 everywhere."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x) + (0 * x).sum().abs().sqrt()


@pytest.mark.parametrize("name", ["fgsm", "pgd-20", "cw"])
def test_a_gradient_that_is_no_number_is_none(name):
    case = linear_case(Threat("Linf", 0.05), 2)
    x_adv = run(resolve(name), NotANumber(case.model), case.x, case.y, case.threat)
    assert x_adv.isfinite().all()


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
