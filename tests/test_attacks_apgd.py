"""Auto-PGD agrees with its reference, and the adaptive attack follows a view where the model's own gradient lies."""

import pyautoattack.autopgd_base
import pytest
import torch
from oracles import SHAPE, linear_case, run, untrained
from torch import nn

from harness.attacks import resolve
from harness.attacks.adaptive import Adaptive
from harness.attacks.apgd import apgd
from harness.attacks.losses import cross_entropy, dlr
from harness.threat import Threat
from harness.verification import still_correct


def objective(model, y, loss, *, judge=True):
    def both(x_adv, rows):
        logits = model(x_adv)
        fooled = (logits.argmax(1) != y[rows]) & judge
        return loss(logits, y[rows]), fooled

    return both


class Reference(pyautoattack.autopgd_base.APGDAttack):
    """The authors' own APGD, started from a given point."""

    def best(self, x, y, start):
        self.init_hyperparam(x)
        return self.attack_single_run(x, y, start)[0]


@pytest.mark.parametrize("loss", [cross_entropy, dlr])
@pytest.mark.parametrize("threat", [Threat("Linf", 0.01), Threat("L2", 0.1)], ids=str)
def test_apgd_finds_the_loss_that_the_authors_implementation_finds(threat, loss):
    """Same start, 100 steps, no early stop: the same highest loss, example by example."""
    model, x, y = untrained()
    start = threat.random_start(x, torch.Generator().manual_seed(1))
    name = "ce" if loss is cross_entropy else "dlr"
    theirs = Reference(model, norm=threat.norm, eps=threat.eps, loss=name, device="cpu").best(x, y, start)
    ours, fooled = apgd(objective(model, y, loss, judge=False), x, threat, start=start, steps=100)
    assert not fooled.any()
    with torch.no_grad():
        torch.testing.assert_close(loss(model(ours), y), loss(model(theirs), y), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("threat", [Threat("Linf", 0.01), Threat("L2", 0.1)], ids=str)
def test_what_apgd_calls_fooled_is_fooled_and_allowed(threat):
    model, x, y = untrained()
    x_adv, fooled = apgd(objective(model, y, cross_entropy), x, threat, start=x, steps=20)
    assert threat.contains(x, x_adv).all()
    assert torch.equal(model(x_adv).argmax(1) != y, fooled)
    assert 0 < fooled.sum() < len(y)


def test_an_example_that_drops_out_does_not_disturb_the_others():
    """Each example alone has the verdict that it has in the batch."""
    model, x, y = untrained()
    threat = Threat("Linf", 0.01)
    _, together = apgd(objective(model, y, cross_entropy), x, threat, start=x, steps=20)
    alone = [
        apgd(objective(model, y[i : i + 1], cross_entropy), x[i : i + 1], threat, start=x[i : i + 1], steps=20)[1]
        for i in range(len(x))
    ]
    assert torch.equal(torch.cat(alone), together)


def test_the_first_iterate_that_fools_is_kept():
    """The judge fires on the third look only: that iterate is the result, and no fourth is made."""
    threat, x = Threat("Linf", 0.1), torch.full((1, 1, 1, 1), 0.5)
    seen = []

    def thrice(x_adv, rows):
        seen.append(x_adv.detach().clone())
        return x_adv.flatten(1).sum(1), torch.tensor([len(seen) == 3])

    x_adv, fooled = apgd(thrice, x, threat, start=x - 0.1, steps=50)
    assert fooled.all()
    assert len(seen) == 3
    assert torch.equal(x_adv, seen[2])


class Masked(nn.Module):
    """A linear model seen through steps: the pixels are rounded to 1/64, so that no gradient comes back."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x + ((64 * x).round() / 64 - x).detach() - x + x.detach())

    def attack_views(self):
        return {"unrounded": self.inner}


@pytest.mark.parametrize("threat", [Threat("Linf", 0.125), Threat("L2", 0.75)], ids=str)
def test_adaptive_finds_through_a_view_what_pgd_and_cw_miss(threat):
    """The rounding hides the gradient entirely; the view is the linear model behind it, whose margin is known."""
    case = linear_case(threat, 4)
    model = Masked(case.model)
    x = (64 * case.x).round() / 64
    right = model(x).argmax(1) == case.y
    verdicts = {}
    for name in ("pgd-20", "cw", "adaptive"):
        x_adv = run(resolve(name), model, x, case.y, threat, model.attack_views())
        verdicts[name] = still_correct(model, x, case.y, x_adv, threat)
    assert torch.equal(verdicts["pgd-20"], right)
    assert torch.equal(verdicts["cw"], right)
    assert torch.equal(verdicts["adaptive"], case.robust)


def test_adaptive_believes_the_model_and_not_the_view():
    """A view that is fooled at once proves nothing: where the real model stands, the example stands."""
    case = linear_case(Threat("Linf", 0.05), 2)
    gullible = nn.Sequential(nn.Flatten(), nn.Linear(SHAPE[1] * SHAPE[2], 2))
    x_adv = run(Adaptive(steps=20), case.model, case.x, case.y, case.threat, {"gullible": gullible})
    assert torch.equal(still_correct(case.model, case.x, case.y, x_adv, case.threat), case.robust)
