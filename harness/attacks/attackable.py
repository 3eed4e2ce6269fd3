"""A model as gradient attacks need it: one that autograd can always differentiate by the images."""

import torch
from torch import Tensor, nn

from harness.modes import evaluating, frozen


def attackable(model: nn.Module, x: Tensor) -> nn.Module:
    """The model itself, or the same logits with a gradient of zeros where autograd cannot have one.

    Some models detach the image, return labels, leave torch, or use an operation without a derivative: they end every
    gradient attack with an error. ``x`` (N, C, H, W) are images to try it on.

    Raises:
        RuntimeError: the model's own, where it fails on the images without any gradient too.
    """
    if _is_differentiable(model, x):
        return model
    return _Flat(model)


def _is_differentiable(model: nn.Module, x: Tensor) -> bool:
    with evaluating(model), frozen(model), torch.random.fork_rng([x.device] if x.device.type == "cuda" else []):
        try:
            with torch.enable_grad():
                images = x.detach().clone().requires_grad_()
                output: Tensor = model(images)
                return (
                    output.requires_grad and torch.autograd.grad(output.sum(), images, allow_unused=True)[0] is not None
                )
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            with torch.no_grad():
                model(x)
            return False


class _Flat(nn.Module):
    """The same logits, constant in the images as far as autograd can see."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K)."""
        logits: Tensor = self.model(x.detach())
        return logits + 0 * x.sum() if x.requires_grad else logits
