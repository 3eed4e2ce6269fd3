"""What the final classifier sees of the test images of one checkpoint, as a features job measured it."""

import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from results.errors import HarnessError

# Each one number an image, but the embedding, which is two.
ARRAYS = ("labels", "embedding", "own_distance", "own_cosine", "other_distance", "other_cosine")


class Features(NamedTuple):
    """Of the first N test images of one checkpoint: their labels (N,), and ``embedding`` (N, 2) of their features.

    ``own_...`` (N,) are L2 distance and cosine between the features of an image and of the same attacked, ``other_...``
    (N,) between those of an image and of one of another class that was attacked towards the label of the first.
    ``kind`` is how the embedding was made.
    """

    job_id: str
    train_id: str
    checkpoint: str
    threat: str
    kind: str
    labels: NDArray[np.int32]
    embedding: NDArray[np.float32]
    own_distance: NDArray[np.float32]
    own_cosine: NDArray[np.float32]
    other_distance: NDArray[np.float32]
    other_cosine: NDArray[np.float32]


def arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a ``features.npz``, by name.

    Raises:
        ValueError: if it is damaged.
    """
    try:
        with np.load(BytesIO(content), allow_pickle=False) as file:
            found = {name: file[name] for name in ARRAYS}
    except (OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(str(error)) from error
    shapes = {name: array.shape for name, array in found.items()}
    count = shapes["labels"][:1]
    if shapes != {name: (*count, 2) if name == "embedding" else count for name in ARRAYS}:
        raise ValueError(f"shapes {shapes}")
    return found


def read_images(path: Path) -> NDArray[np.uint8]:
    """The first test images, uint8 (K, C, H, W), in the ``images.npy`` of a features job.

    Raises:
        HarnessError: if the file is missing or damaged.
    """
    try:
        images: NDArray[np.uint8] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise HarnessError(f"{path} is missing or damaged: {error}") from error
    return images
