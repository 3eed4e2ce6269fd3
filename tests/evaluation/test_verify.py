"""The verdict counts an adversarial example only if it is allowed and really fools the stored model."""

import pytest
import torch
from torch import nn

from harness.api.errors import HarnessError
from harness.api.threat import Threat
from harness.evaluation.verify import still_correct


class Bright(nn.Module):
    """Class 1 where the mean pixel exceeds 0.5."""

    def forward(self, x):
        mean = x.flatten(1).mean(1)
        return torch.stack([0.5 - mean, mean - 0.5], dim=1)


X = torch.full((1, 1, 2, 2), 0.5625)
Y = torch.tensor([1])


def verdict(x_adv, *, norm="Linf", eps=0.125, model=None, x=X, y=Y):
    return still_correct(model or Bright(), x, y, x_adv, Threat(norm, eps)).tolist()


def test_a_model_that_is_wrong_on_the_image_itself_is_not_robust_whatever_the_attack_did():
    assert verdict(X, y=torch.tensor([0])) == [False]
    assert Bright()(X - 0.125).argmax(1).item() == 0
    assert verdict(X - 0.125, y=torch.tensor([0])) == [False]


def test_an_unchanged_image_leaves_a_right_model_right():
    assert verdict(X) == [True]


@pytest.mark.parametrize(("norm", "eps"), [("Linf", 0.125), ("L2", 0.25)])
def test_a_perturbation_of_exactly_eps_counts(norm, eps):
    """0.5625 - 0.125 is exact in float32, and four such pixels lie at L2 distance 0.25."""
    assert verdict(X - 0.125, norm=norm, eps=eps) == [False]


@pytest.mark.parametrize(("norm", "eps"), [("Linf", 0.1249), ("L2", 0.2499)])
def test_a_perturbation_beyond_eps_does_not_count(norm, eps):
    assert verdict(X - 0.125, norm=norm, eps=eps) == [True]


def test_pixels_outside_the_valid_range_do_not_count():
    """The mean falls below 0.5 only because one pixel is negative."""
    x = torch.tensor([0.01, 0.75, 0.75, 0.75]).view(1, 1, 2, 2)
    cheat = x - torch.tensor([0.1, 0.08, 0.08, 0.08]).view(1, 1, 2, 2)
    assert Bright()(cheat).argmax(1).item() == 0
    assert verdict(cheat, x=x) == [True]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_not_finite_do_not_count(value):
    x_adv = X - 0.1
    x_adv[0, 0, 0, 0] = value
    assert verdict(x_adv) == [True]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_examples_in_another_precision_do_not_count(dtype):
    assert verdict((X - 0.125).to(dtype)) == [True]
    assert verdict(X - 0.125) == [False]


def test_the_model_is_asked_in_float32_even_under_autocast():
    """The mean lies 2**-12 above 0.5, which bfloat16 rounds away, so that class 0 would win the tie."""

    class BrightLinear(nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1))

    model = BrightLinear(4, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0] * 4, [0.25] * 4]))
        model.bias.copy_(torch.tensor([0.5, 0.0]))
    x_adv = torch.full((1, 1, 2, 2), 0.5 + 2**-12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(x_adv).argmax(1).item() == 0
        assert verdict(x_adv, model=model) == [True]


def test_the_model_is_asked_in_evaluation_mode_and_given_back_in_its_own():
    model = nn.Sequential(nn.Dropout(1.0), Bright()).train()
    model[1].eval()
    assert verdict(X, model=model) == [True]
    assert [module.training for module in model.modules()] == [True, True, False]


def test_logits_that_are_not_numbers_are_wrong():
    """All-NaN logits have argmax 0, which must not pass for a right answer of class 0."""

    class Undefined(nn.Module):
        def forward(self, x):
            return Bright()(x).where(x.flatten(1).amin(1, keepdim=True) >= 0.5, torch.nan)

    model, dark = Undefined(), torch.full((1, 1, 2, 2), 0.5)
    assert verdict(dark, model=model, x=dark, y=torch.tensor([0])) == [True]
    assert verdict(dark - 0.01, model=model, x=dark, y=torch.tensor([0])) == [False]


def test_each_example_of_a_batch_has_its_own_verdict_and_no_gradient_is_left():
    x, y = X.repeat(4, 1, 1, 1), torch.tensor([1, 1, 1, 0])
    x_adv = x - torch.tensor([0.0, 0.125, 0.3, 0.0]).view(4, 1, 1, 1)
    result = still_correct(Bright(), x, y, x_adv.requires_grad_(), Threat("Linf", 0.125))
    assert result.tolist() == [True, False, True, False]
    assert result.dtype == torch.bool
    assert not result.requires_grad


def test_images_of_another_shape_are_refused():
    with pytest.raises(HarnessError, match=r"must return images of shape \(1, 1, 2, 2\) on cpu, got \(2, 1, 2, 2\)"):
        verdict(X.repeat(2, 1, 1, 1))
