"""CUDA graphs without CUDA: passes recorded operation by operation, with what Python decided at that time."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as tree

from harness.compute.recording import Recording


def rehearse(plain: Callable[..., Any], inputs: list[Tensor], differentiated: bool) -> Recording:
    """In the place of :func:`harness.compute.recording.record`, on any device."""

    def forward(*images: Tensor) -> list[Tensor]:
        return tree.tree_leaves(plain(*images))

    def backward(weights: list[Tensor], x: Tensor, *labels: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(forward(x, *labels), x, weights)[0]

    outputs, layout = tree.tree_flatten(plain(*inputs))
    outputs = [each.detach().clone() for each in outputs]
    weights = [torch.zeros_like(each) for each in outputs]
    with torch.no_grad():
        there = make_fx(forward)(*inputs)
    back = make_fx(backward)(weights, *inputs) if differentiated else None
    gradient = torch.zeros_like(inputs[0])

    def play() -> None:
        with torch.no_grad():
            for own, new in zip(outputs, there(*inputs), strict=True):
                own.copy_(new)

    def play_back() -> None:
        with torch.no_grad():
            gradient.copy_(back(weights, *inputs))

    return Recording(inputs, outputs, layout, play, weights, gradient if differentiated else None, play_back)
