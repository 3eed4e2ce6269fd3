"""What is changed for a while is given back, whatever happens meanwhile."""

from contextlib import suppress

import pytest
import torch
from torch import nn

from harness.compute.modes import evaluating, exact_float32, frozen

CPU = torch.device("cpu")


def settings():
    return torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision


@pytest.fixture
def tf32_products():
    """A user who lets matrix products use TF32, as PyTorch by default lets convolutions."""
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    yield
    torch.backends.cuda.matmul.fp32_precision = before


def test_float32_is_exact_inside_and_as_before_outside(tf32_products):
    """No TF32 and no autocast inside; afterwards whatever the user had chosen."""
    before = settings()
    assert before[1] == "tf32"
    inside = []
    with suppress(KeyError), torch.autocast("cpu", torch.bfloat16), exact_float32(CPU):
        inside += [*settings(), torch.is_autocast_enabled("cpu")]
        raise KeyError
    assert "tf32" not in inside[:2]
    assert inside[2] is False
    assert settings() == before


def test_modes_and_gradients_come_back_after_an_error():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.BatchNorm1d(2))
    model[1].eval()
    model[0].bias.requires_grad_(False)
    inside = []
    with suppress(KeyError), evaluating(model), frozen(model):
        inside += [module.training for module in model.modules()]
        inside += [parameter.requires_grad for parameter in model.parameters()]
        raise KeyError
    assert len(inside) == 8
    assert not any(inside)
    assert [module.training for module in model] == [True, False, True]
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True]
