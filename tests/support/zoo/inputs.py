"""Defences that do something to the image before a classifier sees it."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.gradients import FlippedSigns, straight_through


class Wrapper(nn.Module):
    """Any classifier of images in [0, 1], with something done before (``images``) or after it (``outputs``)."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base

    def images(self, x: Tensor) -> Tensor:
        return x

    def outputs(self, logits: Tensor) -> Tensor:
        return logits

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs(self.base(self.images(x)))


class Quantised(Wrapper):
    """Pixels rounded to few grey levels: the gradient is zero wherever it exists."""

    def __init__(self, base: nn.Module, levels: int = 8, *, masked: bool = True) -> None:
        super().__init__(base)
        self.steps, self.masked = levels - 1, masked

    def images(self, x: Tensor) -> Tensor:
        hard = (x * self.steps).round() / self.steps
        return hard if self.masked else straight_through(hard, x)


class Jpeg(Wrapper):
    """The cosine coefficients of each 8x8 block rounded to multiples of ``step``, as JPEG rounds them."""

    transform: Tensor

    def __init__(self, base: nn.Module, step: float = 0.15, *, masked: bool = True) -> None:
        super().__init__(base)
        self.step, self.masked = step, masked
        k, n = torch.arange(8.0)[:, None], torch.arange(8.0)
        cosines = torch.cos(math.pi / 8 * k * (n + 0.5)) / 2
        cosines[0] /= math.sqrt(2)
        self.register_buffer("transform", cosines, persistent=False)

    def images(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        blocks = F.pixel_unshuffle(F.pad(x, (0, -width % 8, 0, -height % 8), mode="replicate"), 8)
        count, _, rows, columns = blocks.shape
        spectrum = blocks.view(count, -1, 8, 8, rows, columns)
        spectrum = torch.einsum("ai,bj,ncijrs->ncabrs", self.transform, self.transform, spectrum)
        rounded = (spectrum / self.step).round() * self.step
        pixels = torch.einsum("ai,bj,ncabrs->ncijrs", self.transform, self.transform, rounded)
        hard = F.pixel_shuffle(pixels.reshape(count, -1, rows, columns), 8)[:, :, :height, :width].clamp(0, 1)
        return hard if self.masked else straight_through(hard, x)


class Shattered(Wrapper):
    """A ripple too small to see and too steep to follow: its slope is up to ``height * frequency`` of either sign."""

    height, frequency = 0.02, 2000.0

    def __init__(self, base: nn.Module, *, masked: bool = True) -> None:
        super().__init__(base)
        self.masked = masked

    def images(self, x: Tensor) -> Tensor:
        rippled = x + self.height * torch.sin(self.frequency * x)
        return rippled if self.masked else straight_through(rippled, x)


class Detached(Wrapper):
    """The image is cut off from the graph: there is no gradient at all."""

    def images(self, x: Tensor) -> Tensor:
        return x.detach()


class HalfDetached(Wrapper):
    """Every second pixel, as on a chessboard, is cut off from the graph: gradients show half of the truth."""

    def images(self, x: Tensor) -> Tensor:
        rows, columns = (torch.arange(side, device=x.device) for side in x.shape[2:])
        return torch.where((rows[:, None] + columns) % 2 == 0, x, x.detach())


class FlippedGradient(Wrapper):
    """The forward pass is the classifier's own; backwards, half of the pixels get the negated gradient."""

    def images(self, x: Tensor) -> Tensor:
        return FlippedSigns.apply(x)


class Evasive(Wrapper):
    """A saboteur: whoever wants a gradient gets the answer for the negative of the image."""

    def images(self, x: Tensor) -> Tensor:
        return 1 - x if torch.is_grad_enabled() else x
