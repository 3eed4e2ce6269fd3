"""Tiny-ImageNet, read straight from its archive."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

import numpy as np

from harness.api.data import Data, Split, dataset
from harness.datasets.cache import cached
from harness.datasets.decode import decode
from harness.datasets.download import Archive

URL = "https://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
_TOP = "tiny-imagenet-200"


@dataset("tiny-imagenet")
def tiny_imagenet(root: Path) -> Data:
    """Photographs of 64x64 pixels in 200 classes: 100,000 to train, the 10,000 of its validation split to test.

    Le and Yang 2015, https://cs231n.stanford.edu/reports/2015/pdfs/yle_project.pdf. The labels of the published test
    split are secret, so the validation split stands in for it, as in the literature. Training images are ordered by
    their number, then by class, so that the first N are a mix of the classes. The archive belongs into ``root``.
    """
    archive = Archive("tiny-imagenet", URL, MD5, root / f"{_TOP}.zip")

    def build() -> Data:
        with ZipFile(archive.obtain()) as zipped:
            return _read(zipped)

    return cached(root, f"{archive.dataset}-{MD5[:8]}", build)


def _read(zipped: ZipFile) -> Data:
    classes = tuple(sorted(zipped.read(f"{_TOP}/wnids.txt").decode().split()))
    annotations = zipped.read(f"{_TOP}/val/val_annotations.txt").decode().splitlines()
    test = {f"{_TOP}/val/images/{line.split()[0]}": line.split()[1] for line in annotations}
    names = (PurePosixPath(name) for name in zipped.namelist() if name.startswith(f"{_TOP}/train/"))
    train = {str(name): name.parts[2] for name in names if name.suffix == ".JPEG"}
    return Data("tiny-imagenet", _split(train, classes, zipped), _split(test, classes, zipped), classes)


def _split(labels: dict[str, str], classes: Sequence[str], zipped: ZipFile) -> Split:
    """The images named in ``labels``, ordered by the number at the end of their names, then by class."""
    index = {label: number for number, label in enumerate(classes)}
    files = sorted(labels, key=lambda name: (int(PurePosixPath(name).stem.rpartition("_")[2]), labels[name]))
    images, _ = decode(files, zipped.open)
    return Split(images, np.array([index[labels[name]] for name in files], dtype=np.int64))
