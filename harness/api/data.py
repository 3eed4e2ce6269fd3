"""What a data set is: two splits of uint8 images in memory."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.api.errors import HarnessError
from harness.api.registry import Registry

datasets: Registry["Callable[[Path], Data]"] = Registry("data set")
dataset = datasets.add

_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Split:
    """Images, uint8 (N, C, H, W) in 0..255, in the data set's official order, and their labels, int64 (N,).

    Raises:
        HarnessError: for arrays of other types or shapes.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 4:
            raise HarnessError(f"images must be uint8 (N, C, H, W), got {images.dtype} {images.shape}")
        if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
            raise HarnessError(f"labels must be int64 ({len(images)},), got {labels.dtype} {labels.shape}")

    def __len__(self) -> int:
        return len(self.labels)

    def head(self, n: int | None) -> "Split":
        """The first ``n`` examples in official order (None, or more than there are: all of them)."""
        return Split(self.images[:n], self.labels[:n])


@dataclass(frozen=True, eq=False)
class Data:
    """A data set: images of one size in both splits, labels in 0..K-1.

    ``fingerprint`` is the beginning of the SHA-256 of both splits; ``mean`` and ``std`` are those of each channel over
    the training split's pixels, in units of a [0, 1] image. The three are computed unless they are given, as by the
    cache: leave them out.

    Raises:
        HarnessError: for an empty split, images that differ in shape, or a label that is no class.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    fingerprint: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for part, split in (("training", self.train), ("test", self.test)):
            _check(f"the {part} split of {self.name}", split, self.train.images.shape[1:], self.num_classes)
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", fingerprint(self.train, self.test))
        if not self.mean:
            mean, std = channel_statistics(self.train.images)
            object.__setattr__(self, "mean", mean)
            object.__setattr__(self, "std", std)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return int(self.train.images.shape[1])

    @property
    def size(self) -> int:
        """The longer side of an image, in pixels."""
        return int(max(self.train.images.shape[2:]))


def _check(what: str, split: Split, shape: tuple[int, ...], num_classes: int) -> None:
    if not len(split):
        raise HarnessError(f"{what} has no images")
    if split.images.shape[1:] != shape:
        raise HarnessError(f"{what} has images (C, H, W) = {split.images.shape[1:]}, the training split {shape}")
    low, high = int(split.labels.min()), int(split.labels.max())
    if low < 0 or high >= num_classes:
        raise HarnessError(f"{what} has labels from {low} to {high}, but there are {num_classes} classes, from 0")


def fingerprint(*splits: Split) -> str:
    """16 hexadecimal digits of the SHA-256 of types, shapes and bytes: equal only for the same examples in order."""
    digest = hashlib.sha256()
    for split in splits:
        for array in (split.images, split.labels):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data.cast("B"))
    return digest.hexdigest()[:16]


def channel_statistics(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of (N, C, H, W), in units of a [0, 1] image.

    Counted in integers, so the same on every machine. A standard deviation is at least one grey level, 1/255, so that
    a constant channel can be divided by it.
    """
    levels, counts = np.arange(256), np.zeros((images.shape[1], 256), dtype=np.int64)
    for start in range(0, len(images), _CHUNK):
        for channel, pixels in enumerate(np.moveaxis(images[start : start + _CHUNK], 1, 0)):
            counts[channel] += np.bincount(pixels.ravel(), minlength=256)
    total = int(counts[0].sum())
    sums, squares = (counts @ levels).tolist(), (counts @ levels**2).tolist()
    mean = tuple(s / total / 255 for s in sums)
    std = tuple(max((total * q - s * s) ** 0.5 / total, 1.0) / 255 for s, q in zip(sums, squares, strict=True))
    return mean, std
