"""The losses and inner attacks of the base methods against their papers' equations, written out independently."""

import copy

import pytest
import torch
import torch.nn.functional as F
from method_equations import THREATS, assert_same_gradients, bce, built, ce, images, kl, own_probability, step
from torch import Tensor, nn

from harness.api.method import methods
from harness.api.threat import Threat
from harness.plugins import load_plugins
from methods.adversarial import Batch, kl_divergence
from methods.mart import Mart, boosted_cross_entropy, weighted_divergence
from methods.natural import Natural
from methods.pgd_at import PgdAt
from methods.trades import Trades

load_plugins()

# method, total of (natural logits, adversarial logits, labels), named terms
EQUATIONS = {
    "natural": (Natural(), lambda z, a, y: {"natural": (1, ce(z, y).mean())}),
    "pgd-at": (PgdAt(), lambda z, a, y: {"robust": (1, ce(a, y).mean())}),
    "trades": (Trades(), lambda z, a, y: {"natural": (1, ce(z, y).mean()), "robust": (6, kl(z, a).mean())}),
    "trades-beta": (
        Trades(beta=2.5),
        lambda z, a, y: {"natural": (1, ce(z, y).mean()), "robust": (2.5, kl(z, a).mean())},
    ),
    "mart": (
        Mart(),
        lambda z, a, y: {
            "robust": (1, bce(a, y).mean()),
            "consistency": (6, (kl(z, a) * (1 - own_probability(z, y))).mean()),
        },
    ),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_the_loss_and_its_gradients_equal_the_papers_equation(name):
    """On a CNN with BatchNorm in training mode: total, each term, and the gradient of every parameter."""
    method, equation = EQUATIONS[name]
    model, (x, y) = built(method), images()
    twin = copy.deepcopy(model)
    x_adv = method.attack(Batch(twin, x, y, THREATS[0], step())) if name != "natural" else x
    terms = equation(twin(x).double(), twin(x_adv).double(), y)
    expected = sum(weight * term for weight, term in terms.values())
    loss = method.loss(model, x, y, THREATS[0], step())
    torch.testing.assert_close(loss.total.double(), expected, atol=1e-6, rtol=1e-6)
    assert loss.terms.keys() == terms.keys()
    for key, term in loss.terms.items():
        assert not term.requires_grad
        torch.testing.assert_close(term.double(), terms[key][1].detach(), atol=1e-6, rtol=1e-6)
    assert_same_gradients(model, loss.total, twin, expected)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_terms_and_their_gradients_equal_the_formulas_in_double_precision(classes):
    """KL, boosted cross-entropy and weighted divergence on random logits, to 1e-9, gradients to both arguments."""
    generator = torch.Generator().manual_seed(classes)
    p, q = (4 * torch.randn(20, classes, generator=generator, dtype=torch.float64) for _ in range(2))
    y = torch.arange(20) % classes
    weights = torch.rand(20, generator=generator, dtype=torch.float64)
    for ours, theirs in [
        (kl_divergence, kl),
        (lambda p, q: boosted_cross_entropy(p, y) + 0 * q.sum(1), lambda p, q: bce(p, y) + 0 * q.sum(1)),
        (lambda p, q: weighted_divergence(p, q, y), lambda p, q: kl(p, q) * (1 - own_probability(p, y))),
    ]:
        p.requires_grad_()
        q.requires_grad_()
        values = [term(p, q) for term in (ours, theirs)]
        torch.testing.assert_close(*values, atol=1e-9, rtol=1e-9)
        gradients = [torch.autograd.grad((weights * value).sum(), (p, q)) for value in values]
        for each, expected in zip(*gradients, strict=True):
            torch.testing.assert_close(each, expected, atol=1e-9, rtol=1e-9)


def test_the_terms_stay_finite_where_probabilities_reach_zero_and_one():
    """Logits 200 apart: the KL is the difference of logits, MART's guard is log(0.0001), all gradients are finite."""
    z = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
    w = torch.tensor([[0.0, 200.0, 0.0]], requires_grad=True)
    y = torch.tensor([0])
    assert kl_divergence(z, w).item() == pytest.approx(200)
    assert boosted_cross_entropy(w, y).item() == pytest.approx(200 + 9.21, abs=0.01)
    total = kl_divergence(z, w) + boosted_cross_entropy(w, y) + weighted_divergence(w, z, y)
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(total.sum(), (z, w)))


def independent_attack(model: nn.Module, x: Tensor, start: Tensor, loss, threat: Threat, steps: int) -> Tensor:
    """Signed or normalised gradient steps with projection, in evaluation mode, by Linf or L2 formulas written here."""
    model = copy.deepcopy(model).eval()
    z = start.clone()
    for index in range(steps + 1):
        if threat.norm == "Linf":
            z = torch.minimum(torch.maximum(z, x - threat.eps), x + threat.eps)
        else:
            norms = torch.stack([row.norm() for row in z - x]).clamp(min=1e-12).view(-1, 1, 1, 1)
            z = x + (z - x) * torch.minimum(torch.ones(()), threat.eps / norms)
        z = z.clamp(0, 1).detach().requires_grad_()
        if index < steps:
            (gradient,) = torch.autograd.grad(loss(model(z)), z)
            direction = gradient.sign()
            if threat.norm == "L2":
                direction = gradient / torch.stack([row.norm() for row in gradient]).view(-1, 1, 1, 1)
            z = z + threat.step_size * direction
    return z.detach()


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("name", ["pgd-at", "trades", "mart"])
def test_the_inner_attack_is_the_papers(name, threat):
    """PGD-AT: cross-entropy from a uniform start; TRADES: KL from x + 0.001 N; MART: cross-entropy from there."""
    method = methods[name](attack_steps=4)
    model, (x, y) = built(method), images()
    with torch.no_grad():
        model(x)
        clean = copy.deepcopy(model).eval()(x).double()
    generator = torch.Generator().manual_seed(3)
    start = (
        threat.random_start(x, generator) if name == "pgd-at" else x + 0.001 * torch.randn(x.shape, generator=generator)
    )
    loss = (lambda z: kl(clean, z.double()).sum()) if name == "trades" else (lambda z: ce(z.double(), y).sum())
    expected = independent_attack(model, x, start, loss, threat, steps=4)
    ours = method.attack(Batch(model, x, y, threat, step()))
    assert ((ours - expected).abs() < 1e-3).float().mean() > 0.995
    assert threat.distance(x, ours).max() > 0.5 * threat.eps


def test_natural_training_does_not_look_at_the_threat():
    model, (x, y) = built(Natural()), images()
    losses = [Natural().loss(model, x, y, threat, step()).total for threat in THREATS]
    assert torch.equal(*losses)
    torch.testing.assert_close(losses[0], F.cross_entropy(model(x), y))
