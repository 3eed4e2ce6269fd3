"""Classifiers whose robust accuracy is known exactly, and what tests of attacks share."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from harness.api.attack import Attack, Proposal, Views
from harness.api.threat import Threat
from harness.attacks.search.criterion import Criterion
from harness.attacks.search.found import Found

SHAPE = (1, 6, 6)
PIXELS = 36


class Linear(nn.Module):
    """Logits ``W x + b`` on images, with the given weights (K, pixels) and biases (K,)."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x.flatten(1), self.weight, self.bias)


class Case(NamedTuple):
    """A model, images (N, C, H, W), labels (N,), and which images no allowed perturbation can flip, bool (N,)."""

    model: Linear
    x: Tensor
    y: Tensor
    threat: Threat
    robust: Tensor


def linear_case(
    threat: Threat, classes: int, *, shape: tuple[int, int, int] = SHAPE, count: int = 12, seed: int = 0
) -> Case:
    """Images near grey, away from the bounds: every second one lies 5 to 20 % nearer to the boundary than eps.

    Classes 0 and 1 are told apart by ``w x``; any further class trails by 20 logits, so that the nearest boundary is
    the one between the first two, at distance ``|z_0 - z_1|`` over the dual norm of ``w``.
    """
    random = torch.Generator().manual_seed(seed)
    pixels = math.prod(shape)
    w = torch.randn(pixels, generator=random)
    weight, bias = 0.1 * torch.randn(classes, pixels, generator=random), torch.full((classes,), -20.0)
    weight[0], weight[1], bias[0], bias[1] = -w / 2, w / 2, 0.25 * w.sum(), -0.25 * w.sum()
    dual = w.abs().sum() if threat.norm == "Linf" else w.norm()
    robust = torch.arange(count) % 2 == 0
    ratio = torch.linspace(0.05, 0.2, count)
    distance = threat.eps * torch.where(robust, 1 + ratio, 1 - ratio)
    y = torch.arange(count) // 2 % 2
    noise = 0.1 * (torch.rand(count, pixels, generator=random) - 0.5)
    noise -= (noise @ w / w.dot(w))[:, None] * w
    score = (2 * y - 1) * distance * dual
    x = 0.5 + noise + score[:, None] * w / w.dot(w)
    return Case(Linear(weight, bias), x.view(count, *shape), y, threat, robust)


def boxed_linf_case(threat: Threat, *, count: int = 200, seed: int = 0) -> Case:
    """Binary images all over [0, 1]: the bounds stop many pixels before eps, and the worst case is still closed form.

    Every pixel goes against the label as far as the ball and the bounds allow. Close calls are left out.
    """
    random = torch.Generator().manual_seed(seed)
    w = torch.randn(PIXELS, generator=random)
    x = torch.rand(count, PIXELS, generator=random)
    y = (x @ w > 0.5 * w.sum()).long()
    against = -w.sign() * (2 * y - 1)[:, None]
    worst = (x + threat.eps * against).clamp(0, 1)
    margin = (2 * y - 1) * (worst @ w - 0.5 * w.sum())
    clear = margin.abs() > 1e-3
    model = Linear(torch.stack([torch.zeros(PIXELS), w]), torch.tensor([0.0, -0.5 * float(w.sum())]))
    return Case(model, x[clear].view(-1, *SHAPE), y[clear], threat, margin[clear] > 0)


def run(attack: Attack, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, views: Views | None = None) -> Tensor:
    """The attack's proposal, with randomness fixed."""
    return Proposal.of(attack(model, x, y, threat, generator=torch.Generator().manual_seed(0), views=views or {})).x_adv


def fooled(criterion: Criterion, x: Tensor, y: Tensor, logits: Tensor | None = None) -> Tensor:
    """Which of images (M, ...) with labels (M,) a search counts as found, asking as it does: bool (M,)."""
    found = Found(x, lambda images, rows: criterion.confirms(images, y[rows]))
    found.note(found.everyone, x, criterion.claim(x, y, logits))
    found.leave(found.everyone, x)
    return found.fooled


def untrained() -> tuple[nn.Sequential, Tensor, Tensor]:
    """A smooth network with BatchNorm in evaluation mode, 20 images, and the labels that it gives them."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Tanh(), nn.Flatten(), nn.Linear(288, 10))
    x = torch.rand(20, 3, 6, 6, generator=generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        model.eval()[4].bias -= model(x).mean(0)
    return model, x, model(x).argmax(1)


def many_of_untrained(count: int) -> tuple[nn.Sequential, Tensor, Tensor]:
    """The same network with ``count`` other images, and the labels that it gives them."""
    model, _, _ = untrained()
    x = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model, x, model(x).argmax(1)


class Threshold(nn.Module):
    """Class 1 where the mean exceeds 0.5: the Linf margin of a constant image v is |v - 0.5|."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.scale.weight, 100.0)

    def forward(self, x):
        score = self.scale(x.mean((1, 2, 3))[:, None] - 0.5)
        return torch.cat([torch.zeros_like(score), score], 1)


def constant_images(values):
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()


MARGINS = [0.55, 0.59, 0.61, 0.75, 0.95, 0.3]
LABELS = torch.tensor([1, 1, 1, 1, 1, 1])
