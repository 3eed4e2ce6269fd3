"""Images on the device: from bytes to floats, with random crops and flips drawn there."""

from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


def to_images(images: Tensor, device: torch.device) -> Tensor:
    """Images as floats in [0, 1] on the device, from uint8 or floats of any precision."""
    images = images.to(device)
    return to_float(images) if images.dtype == torch.uint8 else images.float()


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter or buffer lies; the CPU for a model without any."""
    first = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if first is None else first.device
