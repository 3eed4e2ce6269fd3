"""Functions as models, and the gradient that their substitutes give them."""

import torch
from torch import Tensor, nn

from harness.views.standins import Substituted

X = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))


class Of(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def gradient(function, x: Tensor, weights: Tensor | None = None) -> Tensor:
    """Of the substituted function's weighted sum."""
    x = x.clone().requires_grad_()
    result = Substituted(Of(function))(x)
    total = result.sum() if weights is None else (result * weights).sum()
    return torch.autograd.grad(total, x)[0]
