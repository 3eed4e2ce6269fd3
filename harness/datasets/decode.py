"""Image files to one array."""

import os
import re
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from harness.api.errors import HarnessError

_GREY = ("1", "L", "LA")
_WIDE = ("I", "F")


def decode(files: Sequence[str], opened: Callable[[str], IO[bytes]]) -> tuple[NDArray[np.uint8], bool]:
    """All images as RGB, uint8 (N, 3, H, W), in the order of ``files``, and whether every one of them is grey.

    ``opened`` opens a file by its name. Transparency is dropped.

    Raises:
        HarnessError: naming the file that cannot be decoded, has more than 8 bits per channel, or another size than
            the first.
    """
    with warnings.catch_warnings():  # to Pillow, more pixels than it bears are a warning, and twice as many an error
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return _decode_all(files, opened)


def _decode_all(files: Sequence[str], opened: Callable[[str], IO[bytes]]) -> tuple[NDArray[np.uint8], bool]:
    first, grey = _decode(files[0], opened)
    images = np.empty((len(files), *first.shape), dtype=np.uint8)
    images[0] = first

    def place(index: int) -> bool:
        images[index], grey = _decode(files[index], opened, (files[0], first.shape[2], first.shape[1]))
        return grey

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rest = list(pool.map(place, range(1, len(files))))
    return images, grey and all(rest)


def _decode(
    name: str, opened: Callable[[str], IO[bytes]], like: tuple[str, int, int] | None = None
) -> tuple[NDArray[np.uint8], bool]:
    """Another size than that of the file ``like`` (name, width, height) is refused by what the header says."""
    try:
        with opened(name) as file, Image.open(file) as image:
            if like and image.size != like[1:]:
                size, other = ("x".join(map(str, each)) for each in (image.size, like[1:]))
                what = f"{name} is {size} pixels, but {like[0]} is {other}: all must have one size"
                raise HarnessError(printable(what))
            if image.mode.startswith(_WIDE):
                raise HarnessError(
                    f"{printable(name)} has more than 8 bits per channel (mode {image.mode}): convert it to 8 bits"
                )
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1), image.mode in _GREY
    except HarnessError:
        raise
    except UnidentifiedImageError as error:
        what = f"cannot decode the image {printable(name)}: it is empty, or no image of a known format"
        raise HarnessError(what) from error
    except Exception as error:  # every format's decoder raises its own
        what = f"cannot decode the image {name}: {str(error) or type(error).__name__}"
        raise HarnessError(printable(what)) from error


def printable(text: str) -> str:
    """What names files, with every byte that is no UTF-8 as ``\\xe9``: else nothing could print or store it."""
    return re.sub("[\ud800-\udfff]", lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", text)
