"""A model as gradient attacks need it: one that autograd can always differentiate by the images."""

import torch
from torch import Tensor, nn

from harness.api.attack import Views
from harness.api.errors import CodeFailed
from harness.attacks.search.searches import is_aimed
from harness.compute import randomness
from harness.compute.memory import attempt, ran_out
from harness.compute.modes import channels_last, evaluating, frozen


def attackable(model: nn.Module, x: Tensor) -> nn.Module:
    """The model itself, or the same logits in float32, with a gradient of zeros where autograd cannot have one.

    Some models detach the image, return labels, leave torch, use an operation without a derivative, or answer in
    another precision: they end attacks with an error. ``x`` (N, C, H, W) are images to try it on.

    Raises:
        CodeFailed: where the model fails on these images without any gradient too.
    """
    with evaluating(model), frozen(model), randomness.kept():
        try:
            with torch.no_grad():
                output: Tensor = model(x)
        except Exception as error:
            if ran_out(error):
                raise
            what = f"the model fails on {len(x)} images at once, and attacks go on with any number that still stand"
            raise CodeFailed(what, error) from error
        live = _is_differentiable(model, x)
    return model if live and output.dtype == torch.float32 else _Plain(model, live)


def takes_channels_last(model: nn.Module, views: Views, x: Tensor, y: Tensor) -> bool:
    """Whether the model and its stand-ins work with convolutions in the layout that is fastest, tried on ``x``, ``y``.

    One that reshapes the output of a convolution with ``view`` does not.
    """
    every = (model, *views.values())

    def differentiated() -> bool:
        for each in every:
            images = x.detach().clone().requires_grad_()
            output: Tensor = each(images, y) if is_aimed(each) else each(images)
            if output.requires_grad:
                torch.autograd.grad(output.sum(), images, allow_unused=True)
        return True

    with evaluating(*every), frozen(*every), randomness.kept(), channels_last(*every), torch.enable_grad():
        return bool(attempt(differentiated))  # whatever it minds about the layout, it is attacked in its own


def _is_differentiable(model: nn.Module, x: Tensor) -> bool:
    """Whether autograd has a gradient; numpy, in-place changes and operations without a derivative leave none."""

    def reached() -> bool:
        images = x.detach().clone().requires_grad_()
        output: Tensor = model(images)
        return output.requires_grad and torch.autograd.grad(output.sum(), images, allow_unused=True)[0] is not None

    with torch.enable_grad():
        return bool(attempt(reached, RuntimeError, CodeFailed))


class _Plain(nn.Module):
    """The same logits in float32; constant in the images, as far as autograd can see, unless the model is ``live``."""

    def __init__(self, model: nn.Module, live: bool) -> None:
        super().__init__()
        self.model = model
        self.live = live
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K)."""
        logits: Tensor = self.model(x if self.live else x.detach()).float()
        return logits + 0 * x.sum() if x.requires_grad and not self.live else logits
