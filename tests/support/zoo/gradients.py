"""The tricks on gradients that several mechanisms share."""

import torch
from torch import Tensor


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """The value of ``hard`` with the gradient of ``soft``: Bengio et al. 2013, https://arxiv.org/abs/1308.3432."""
    return hard.detach() + soft - soft.detach()


def fixed_normal(*shape: int) -> Tensor:
    """Normal numbers that depend on nothing but the shape."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


class FlippedSigns(torch.autograd.Function):
    """The identity, but the gradient of every second element, in a fixed random pattern, comes back negated."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient * fixed_normal(*gradient.shape[1:]).sign().to(gradient.device)
