"""The probes of a forward pass: does it draw, answer otherwise where a gradient is wanted, or give probabilities?"""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles import linear_case
from probing import LINF, Then, codes, look
from torch.autograd import grad as borrowed_grad


def test_a_random_forward_spreads_and_is_still_measured_reproducibly():
    case = linear_case(LINF, 4, count=40)
    model = Then(case.model, after=lambda z: z + 0.1 * torch.randn_like(z))
    state = torch.get_rng_state()
    seen = look(model, case.x, case.y)
    assert torch.equal(torch.get_rng_state(), state)
    assert 1e-3 < seen.forward_spread < 0.1
    assert look(model, case.x, case.y) == seen
    assert "randomised-forward" in codes(seen)


@pytest.mark.parametrize(
    "asked", [lambda z: torch.is_grad_enabled(), lambda z: z.requires_grad, lambda z: z.grad_fn is not None]
)
def test_another_answer_for_whoever_wants_a_gradient_is_seen(asked):
    """The other answer is the negative: at a distance of 2. No model of this kind is random."""
    case = linear_case(LINF, 4, count=40)
    seen = look(Then(case.model, after=lambda z: -z if asked(z) else z), case.x, case.y)
    assert (seen.otherwise, seen.forward_spread) == (1.0, 0.0)
    assert "answers-otherwise" in codes(seen)


def test_rounding_is_no_other_answer():
    case = linear_case(LINF, 4, count=40)
    seen = look(Then(case.model, after=lambda z: z * (1 + 1e-4 * torch.is_grad_enabled())), case.x, case.y)
    assert seen.otherwise == 0.0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["noise", "own noise", "dropout", "coin", "own coin", "switch", "numpy"])
def test_a_random_model_is_not_said_to_answer_otherwise(kind, seed):
    """Whether it draws from global generators or from its own, for each logit, image or batch."""
    case, own = linear_case(LINF, 4, count=100), torch.Generator().manual_seed(seed)
    python = random.Random(seed)
    after = {
        "noise": lambda z: z + 5 * torch.randn_like(z),
        "own noise": lambda z: z + 5 * torch.randn(z.shape, generator=own),
        "dropout": lambda z: F.dropout(z, 0.5, training=True),
        "coin": lambda z: torch.where(torch.rand(len(z), 1) < 1 / 6, -z, z),
        "own coin": lambda z: torch.where(torch.rand(len(z), 1, generator=own) < 1 / 6, -z, z),
        "switch": lambda z: python.choice([-z, z, z.flip(1)]),
        "numpy": lambda z: z + float(np.random.randn()),  # noqa: NPY002
    }[kind]
    seen = look(Then(case.model, after=after), case.x, case.y)
    assert seen.otherwise <= 0.1
    assert "answers-otherwise" not in codes(seen)
    assert "randomised-forward" in codes(seen)


def test_probabilities_are_told_from_logits():
    case = linear_case(LINF, 4, count=40)
    assert look(Then(case.model, after=lambda z: z.softmax(1)), case.x, case.y).softmax_output
    assert not look(Then(case.model, after=lambda z: z.log_softmax(1)), case.x, case.y).softmax_output


@pytest.mark.parametrize("differentiate", [torch.autograd.grad, borrowed_grad, None], ids=["grad", "alias", "backward"])
def test_a_forward_that_optimises_is_counted(differentiate):
    """Three steps that pull the image towards grey, differentiated by any of autograd's entrances."""

    def purify(x):
        for _ in range(3):
            with torch.enable_grad():
                image = x.detach().requires_grad_()
                loss = (image - 0.5).square().sum()
                if differentiate is None:
                    loss.backward()
                slope = differentiate(loss, image)[0] if differentiate else image.grad
            x = x - 0.01 * slope
        return x

    case = linear_case(LINF, 4, count=4)
    seen = look(Then(case.model, before=purify), case.x, case.y)
    assert seen.autograd_calls == 3
    assert "dynamic-forward" in codes(seen)
