"""The one verdict: an adversarial example counts only if it is allowed and the stored model gets it wrong."""

import torch
from torch import Tensor, nn

from harness.api.errors import HarnessError
from harness.api.threat import Threat
from harness.compute.modes import evaluating, exact_float32


def still_correct(model: nn.Module, x: Tensor, y: Tensor, x_adv: Tensor, threat: Threat) -> Tensor:
    """Which examples the model still gets right after an attack proposed ``x_adv``: bool (N,).

    False where the model is wrong on ``x`` (N, C, H, W) itself, and where it is wrong on a proposal that counts: one
    in float32, finite, in the threat's ball around ``x`` and in [0, 1]. The model is asked in evaluation mode and
    in float32 (:func:`harness.compute.modes.exact_float32`) whatever surrounds the call; logits with a NaN are wrong.
    ``y`` (N,) are the labels.

    Raises:
        HarnessError: if the proposal has another shape than the images, or lies on another device.
    """
    if x_adv.shape != x.shape or x_adv.device != x.device:
        raise HarnessError(
            f"an attack must return images of shape {tuple(x.shape)} on {x.device}, "
            f"got {tuple(x_adv.shape)} on {x_adv.device}"
        )
    right = _right(model, x, y)
    if x_adv.dtype != torch.float32:
        return right
    counts = threat.contains(x, x_adv) & right
    right[counts] = _right(model, x_adv[counts], y[counts])
    return right


def _right(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    if not len(x):
        return torch.ones(0, dtype=torch.bool, device=x.device)
    with evaluating(model), torch.no_grad(), exact_float32(x.device):
        logits: Tensor = model(x)
    return (logits.argmax(1) == y) & ~logits.isnan().any(1)
