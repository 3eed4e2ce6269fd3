"""Images on the device: from bytes to floats, with random crops and flips drawn there."""

import torch
import torch.nn.functional as F
from torch import Tensor

PADDING = 4


def to_float(images: Tensor) -> Tensor:
    """uint8 (N, C, H, W) to float32 in [0, 1]."""
    return images.float() / 255


def augment(images: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Random crops after padding by 4 (``crop``), and horizontal flips with probability 1/2 (``crop-flip``).

    ``images`` (N, C, H, W) and ``generator`` are on one device. No value leaves the device.
    """
    if kind == "none":
        return images
    n, _, height, width = images.shape
    device = images.device
    offsets = torch.randint(0, 2 * PADDING + 1, (2, n, 1), generator=generator, device=device)
    rows = offsets[0] + torch.arange(height, device=device)
    columns = offsets[1] + torch.arange(width, device=device)
    if kind == "crop-flip":
        flipped = torch.rand((n, 1), generator=generator, device=device) < 0.5
        columns = torch.where(flipped, columns.flip(1), columns)
    padded = F.pad(images, (PADDING,) * 4)
    picked = torch.arange(n, device=device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[picked, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
