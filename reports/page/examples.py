"""A page of single test examples: the image, its adversarial image, what was changed, and what broke it."""

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reports.page.html import render

Pixels = NDArray[np.float32]
_SIDE = 128  # pixels of a drawn image, at least


class Picture(Protocol):
    """One example: both images float32 (C, H, W) in [0, 1], its class, and what broke it, the first one shown."""

    @property
    def position(self) -> int:
        """In the test set."""

    @property
    def label(self) -> str:
        """Its class."""

    @property
    def natural(self) -> Pixels:
        """As it is."""

    @property
    def adversarial(self) -> Pixels:
        """As the attack made it."""

    @property
    def broken_by(self) -> Sequence[str]:
        """The attacks, with their parts."""


def examples(title: str, pictures: Sequence[Picture]) -> str:
    """The whole page; its images are part of it."""
    shown: list[dict[str, Any]] = []
    for each in pictures:
        change = each.adversarial - each.natural
        largest = float(np.abs(change).max())
        images = {
            "the test image": each.natural,
            "under attack": each.adversarial,
            "the change, magnified": 0.5 + change / (2 * largest) if largest else np.full_like(change, 0.5),
        }
        shown.append(
            {
                "position": each.position,
                "label": each.label,
                "broken_by": each.broken_by,
                "largest": f"{largest * 255:.3g}/255",
                "factor": f"{1 / (2 * largest):.3g}" if largest else "1",
                "images": {name: png(image) for name, image in images.items()},
            }
        )
    return render("examples.html.j2", title=title, examples=shown)


def png(image: Pixels) -> str:
    """An image (C, H, W) in [0, 1] of one or three channels as a ``data:`` URL, each pixel a square of whole pixels."""
    levels = np.round(255 * image.clip(0, 1)).astype(np.uint8)
    factor = max(1, _SIDE // max(levels.shape[1:]))
    pixels = np.moveaxis(levels, 0, 2).repeat(factor, axis=0).repeat(factor, axis=1)
    out = BytesIO()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(out, format="png")
    return f"data:image/png;base64,{b64encode(out.getvalue()).decode()}"
