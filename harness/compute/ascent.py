"""Projected steepest ascent: the inner attack of training objectives, and what chooses ``best``."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from harness.api.threat import Threat
from harness.compute.cheaper import cheaper
from harness.compute.gradients import input_gradient
from harness.compute.modes import evaluating, frozen


def ascend(
    model: nn.Module,
    x: Tensor,
    objective: Callable[[Tensor], Tensor],
    threat: Threat,
    *,
    start: Tensor,
    steps: int,
    step_size: float | None = None,
) -> Tensor:
    """Raise ``objective(x_adv)`` (a scalar) by projected steepest ascent from ``start``; the last iterate.

    The objective closes over ``model``, which is put in evaluation mode and frozen meanwhile. ``step_size`` is in
    units of the image (default: the threat's). Madry et al. 2018, https://arxiv.org/abs/1706.06083, section 2.1.
    """
    size = threat.step_size if step_size is None else step_size
    x_adv = threat.project(start, x).detach()
    with evaluating(model), frozen(model), cheaper(model), torch.enable_grad():
        for _ in range(steps):
            x_adv.requires_grad_()
            gradient = input_gradient(objective(x_adv), x_adv)
            x_adv = threat.step(x_adv.detach(), gradient, x, size)
    return x_adv.detach()
