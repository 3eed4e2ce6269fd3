"""Any data set in one file of NumPy arrays."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.api.data import Data, Split, dataset
from harness.api.errors import HarnessError

PREFIX = "npz:"
_NAMES = ("x_train", "y_train", "x_test", "y_test")


@dataset(f"{PREFIX}FILE")
def arrays_in(root: Path) -> Data:
    """Your own arrays: FILE.npz with x_train, y_train, x_test, y_test; images uint8, (N, H, W, C) or (N, C, H, W)."""
    return load_arrays(Path("FILE"))


def load_arrays(path: Path) -> Data:
    """The images ``x_...`` with their labels ``y_...`` in an ``.npz`` file, as ``numpy.savez`` writes it.

    Images are uint8, (N, H, W) where they are grey, labels whole numbers from 0; ``classes`` may name them. The data
    set's name is ``npz:`` and the file's without its ending.

    Raises:
        HarnessError: for a file that cannot be read, an array that is missing, or one of another type or shape.
    """
    try:
        with np.load(path.expanduser(), allow_pickle=False) as file:
            found = {name: file[name] for name in (*_NAMES, "classes") if name in file}
    except (OSError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise HarnessError(f"{path} cannot be read as numpy.savez writes it: {error}") from error
    missing = [name for name in _NAMES if name not in found]
    if missing:
        raise HarnessError(f"{path} lacks {', '.join(missing)}: it must hold {', '.join(_NAMES)}")
    train, test = (
        Split(_images(path, f"x_{split}", found[f"x_{split}"]), _labels(path, f"y_{split}", found[f"y_{split}"]))
        for split in ("train", "test")
    )
    numbers = range(int(train.labels.max(initial=-1)) + 1)
    classes = tuple(map(str, found.get("classes", numbers)))
    return Data(f"{PREFIX}{path.stem}", train, test, classes)


def array_stamp(path: Path) -> str:
    """A text that changes with the file."""
    status = path.expanduser().stat() if path.expanduser().exists() else None
    return f"{path} {status and (status.st_size, status.st_mtime_ns)}"


def _images(path: Path, name: str, images: NDArray[Any]) -> NDArray[np.uint8]:
    """As (N, C, H, W)."""
    shape = images.shape
    if images.dtype == np.uint8 and images.ndim == 3:
        return images[:, None]
    if images.dtype == np.uint8 and images.ndim == 4 and {shape[1], shape[3]} & {1, 3}:
        return images if shape[1] in (1, 3) else np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    raise HarnessError(
        f"{name} in {path} must be uint8 of shape (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels, got "
        f"{images.dtype} {shape}" + (": write (255 * x).round().astype('uint8')" if images.dtype.kind == "f" else "")
    )


def _labels(path: Path, name: str, labels: NDArray[Any]) -> NDArray[np.int64]:
    if labels.dtype.kind not in "iu":
        raise HarnessError(f"{name} in {path} must hold whole numbers, got {labels.dtype} {labels.shape}")
    return labels.astype(np.int64)
