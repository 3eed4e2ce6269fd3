"""Clamps whose gradient dies at their bounds, where half of a digit's pixels lie."""

import pytest
import torch
import torch.nn.functional as F
from defended import THREAT, Behind, derive
from oracles import boxed_linf_case, run
from substituted import Of, gradient
from torch import nn
from zoo.bases import THREAT as DIGITS

import harness
from harness.attacks import resolve
from harness.evaluation.verify import still_correct
from harness.views.standins import Substituted

# Below, at and above the bounds 0 and 1.
Z = torch.tensor([[-0.5, 0.0, 0.25, 1.0, 2.0]])
BOTH, LOWER, UPPER = [0.0, 1, 1, 1, 0], [0.0, 1, 1, 1, 1], [1.0, 1, 1, 1, 0]
ONE, NOUGHT = torch.ones(()), torch.zeros(())
CLAMPS = {
    "clamp": (lambda z: z.clamp(0, 1), BOTH),
    "clip": (lambda z: torch.clip(z, min=0, max=1), BOTH),
    "clamp by tensors": (lambda z: z.clamp(NOUGHT, ONE), BOTH),
    "clamp_": (lambda z: (1 * z).clamp_(0, 1), BOTH),
    "clip_": (lambda z: (1 * z).clip_(0, 1), BOTH),
    "clamp, min alone": (lambda z: z.clamp(min=0), LOWER),
    "clamp, max alone": (lambda z: z.clamp(max=1), UPPER),
    "clamp_min": (lambda z: z.clamp_min(0), LOWER),
    "clamp_max": (lambda z: z.clamp_max(1), UPPER),
    "clamp_min_": (lambda z: (1 * z).clamp_min_(0), LOWER),
    "clamp_max_": (lambda z: (1 * z).clamp_max_(1), UPPER),
    "hardtanh": (lambda z: F.hardtanh(z, 0, 1), BOTH),
    "hardtanh_": (lambda z: F.hardtanh_(1 * z, 0, 1), BOTH),
    "Hardtanh": (nn.Hardtanh(0, 1), BOTH),
    "Hardtanh in place": (lambda z: nn.Hardtanh(0, 1, inplace=True)(1 * z), BOTH),
    "relu6": (lambda z: F.relu6(6 * z) / 6, BOTH),
    "ReLU6": (lambda z: nn.ReLU6()(6 * z) / 6, BOTH),
    "ReLU6 in place": (lambda z: nn.ReLU6(inplace=True)(6 * z) / 6, BOTH),
    "relu": (torch.relu, LOWER),
    "relu_": (lambda z: (1 * z).relu_(), LOWER),
    "ReLU": (nn.ReLU(), LOWER),
    "ReLU in place": (lambda z: nn.ReLU(inplace=True)(1 * z), LOWER),
    "threshold": (lambda z: F.threshold(z, 0, 0), LOWER),
    "Threshold in place": (lambda z: nn.Threshold(0, 0, inplace=True)(1 * z), LOWER),
    "maximum": (lambda z: torch.maximum(z, NOUGHT), LOWER),
    "minimum": (lambda z: torch.minimum(ONE, z), UPPER),
    "max": (lambda z: torch.max(z, NOUGHT), LOWER),
    "min": (lambda z: z.min(ONE), UPPER),
    "fmin of fmax": (lambda z: torch.fmin(torch.fmax(z, NOUGHT), ONE), BOTH),
}


@pytest.mark.parametrize("name", CLAMPS)
def test_at_a_bound_the_slope_is_that_from_inside(name):
    clamp, slopes = CLAMPS[name]
    assert gradient(clamp, Z).tolist() == [slopes]
    assert torch.equal(Substituted(Of(clamp))(Z.clone().requires_grad_()), clamp(Z))


def test_of_two_that_depend_on_the_image_neither_is_a_bound():
    """Where both are equal each keeps its half."""
    assert torch.equal(gradient(lambda z: torch.maximum(z, 1 - z), torch.full((1, 1), 0.5)), torch.zeros(1, 1))


def test_a_unit_that_is_dead_before_the_bound_stays_dead():
    """What one ReLU has cut off, the next does not bring back."""
    assert gradient(lambda z: z.relu().relu().clamp(0, 2), Z).tolist() == [[0.0, 1, 1, 1, 1]]


@pytest.mark.parametrize("name", ["clamp", "hardtanh", "relu6"])
def test_pixels_at_the_bounds_of_a_clamp_are_attacked(name):
    """Linear classifiers of images with every second pixel black or white: what is robust is known exactly."""
    case = boxed_linf_case(THREAT)
    x = torch.where(torch.arange(36).view(1, 1, 6, 6) % 2 == 0, case.x, case.x.round())
    y = case.model(x).argmax(1)
    model = Behind(case.model, before=CLAMPS[name][0])
    views = derive(model, x)
    assert list(views) == ["substitutes"]
    attack = resolve("adaptive")
    bare, clamped = (
        still_correct(each, x, y, run(attack, each, x, y, THREAT, found), THREAT)
        for each, found in ((case.model, {}), (model, views))
    )
    assert torch.equal(bare, clamped)


@pytest.mark.slow
def test_an_input_clamp_hides_nothing_of_an_adversarially_trained_network(zoo):
    network, (x, y) = zoo.trained("pgd-at", 0), zoo.test_images(48)
    clamped = Behind(network, before=lambda x: x.clamp(0, 1)).eval()
    assert "substitutes" in derive(clamped, x, DIGITS)

    def adaptive(model: nn.Module) -> float:
        return harness.evaluate(model, x, y, threat=DIGITS, attacks=["adaptive"], diagnostics=False).accuracy[
            "adaptive"
        ]

    assert adaptive(clamped) <= adaptive(network) + 0.03 + 1 / 48
