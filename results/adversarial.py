"""The adversarial images of one evaluation, as its job directory keeps them."""

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from results.errors import HarnessError


class Adversarial(NamedTuple):
    """What broke the test examples at ``positions`` int64 (K,), ascending: ``images`` float32 (K, C, H, W) in [0, 1].

    Examples that the model gets wrong without an attack are not among them.
    """

    positions: NDArray[np.int64]
    images: NDArray[np.float32]


def read_adversarial(path: Path) -> Adversarial:
    """The images in ``adversarial.npz``.

    Raises:
        HarnessError: if the file is missing, as in jobs of earlier versions, or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = Adversarial(arrays["positions"], arrays["images"])
    except FileNotFoundError:
        raise HarnessError(
            f"{path} is missing: the job was done before adversarial images were kept; "
            f"`harness rm {path.parent.name}` and the same `harness run` make it again"
        ) from None
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile) as error:
        raise HarnessError(f"{path} is damaged: {error}") from error
    if found.images.ndim != 4 or found.positions.shape != found.images.shape[:1]:
        raise HarnessError(f"{path} is damaged: {found.positions.shape} positions for images {found.images.shape}")
    return found
