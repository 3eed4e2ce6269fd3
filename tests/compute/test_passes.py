"""Passes through a model, counted by hand."""

import pytest
import torch
from oracles import untrained
from torch import nn
from torch.nn import functional as F

from harness.compute.passes import Passes, counting


def test_forward_and_backward_passes_are_counted_in_images():
    model, x, _ = untrained()
    images = x.clone().requires_grad_()
    with counting(model) as count:
        with torch.no_grad():
            model(x[:7])
        assert count() == Passes(7, 0)
        logits = model(images)
        assert count() == Passes(27, 0)
        for column in (0, 1):
            torch.autograd.grad(logits[:, column].sum(), images, retain_graph=True)
        assert count() == Passes(27, 40)
        torch.autograd.grad(model(images).sum(), images)  # the same images again are one pass more, not two
        assert count() == Passes(47, 60)
    torch.autograd.grad(model(images).sum(), images)
    assert count() == Passes(47, 60)


class InPlace(nn.Module):
    """Changes what its first layer returns in place, as many networks do, and can cut the gradient off."""

    def __init__(self, *, detached):
        super().__init__()
        self.layer, self.detached = nn.Linear(4, 3), detached

    def forward(self, x):
        return F.relu(self.layer(x.detach() if self.detached else x), inplace=True)


@pytest.mark.parametrize(("detached", "backwards"), [(False, 5), (True, 0)])
def test_a_gradient_that_does_not_come_back_is_not_counted(detached, backwards):
    model = InPlace(detached=detached).requires_grad_(False)
    images = torch.rand(5, 4).requires_grad_()
    with counting(model) as count:
        (model(images).sum() + 0 * images.sum()).backward()
    assert count() == Passes(5, backwards)
