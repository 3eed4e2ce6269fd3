"""Any data set in folders of image files."""

import hashlib
import logging
import os
import re
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from harness.api.data import Data, Split, dataset
from harness.api.errors import HarnessError
from harness.datasets.cache import cached
from harness.datasets.decode import decode, printable

log = logging.getLogger("harness.datasets")
PREFIX = "imagefolder:"
_DEEPER, _BESIDE = "images in folders below a class's own", "images beside the class folders"
_HIDDEN, _OTHER = "hidden files", "files of other types"
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".avif", ".ppm", ".pgm", ".gif", ".tif", ".tiff"})


class _File(NamedTuple):
    """An image file; ordered by its name, and files of one name by class."""

    name: str
    label: str
    path: Path


@dataset(f"{PREFIX}PATH")
def images_in(root: Path) -> Data:
    """Your own images, all one size: PATH/train/<class>/*.png and PATH/test (or PATH/val)/<class>/*.png."""
    return load_folder(Path("PATH"), root)


def load_folder(path: Path, root: Path) -> Data:
    """The images in ``path/train/<class>/`` and ``path/test/<class>/`` (``path/val`` if there is no ``test``).

    Classes are the sorted names of the training split's folders. Within a split, images are ordered by file name
    across all classes, then by class: where names are official indices (``00017.png``) this is the official order, so
    the first N are a mix of the classes. If every image is grey they have one channel, else three. The data set's name
    is ``imagefolder:`` and the last part of the path. Decoded images are kept under ``root/cache`` until any file's
    name, size or time of change differs.

    Raises:
        HarnessError: for a missing folder, a class without images or unknown to training, or an odd or broken image.
    """
    path, train, test, state = _splits(path)
    classes = sorted({file.label for file in train})
    for folder in sorted({file.path.parent for file in test if file.label not in classes}):
        what = f"the class folder {folder} has no counterpart {path / 'train' / folder.name}"
        raise HarnessError(printable(what))
    _warn_of_numbers(path / "train", classes)

    def build() -> Data:
        images, grey = decode([str(file.path) for file in train + test], lambda name: BytesIO(Path(name).read_bytes()))
        images = images[:, :1] if grey else images
        labels = _labels(train + test, classes)
        n = len(train)
        splits = Split(images[:n], labels[:n]), Split(images[n:], labels[n:])
        return Data(f"{PREFIX}{printable(path.name)}", *splits, tuple(map(printable, classes)))

    return cached(root, f"imagefolder-{path.name}-{state}", build)


def folder_stamp(path: Path) -> str:
    """16 hexadecimal digits that change with the name, size or time of change of any image file in the folder.

    Raises:
        HarnessError: for a missing folder, or a class without images.
    """
    return _splits(path)[-1]


def _splits(path: Path) -> tuple[Path, list[_File], list[_File], str]:
    """The folder's absolute path, the image files of both splits in order, and their state in 16 digits."""
    try:
        path = path.expanduser().resolve()
        test_folder = path / "test" if _is_folder(path / "test") else path / "val"
        train, test = _files(path / "train", path), _files(test_folder, path)
        return path, train, test, _state(path, train + test)
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, an unknown ~user, null bytes
        raise HarnessError(printable(f"the image folder {path} cannot be read: {error}")) from error


def _warn_of_numbers(folder: Path, classes: Sequence[str]) -> None:
    """Labels are positions among names sorted as text, which may not be what a model was trained on."""
    if not all(re.fullmatch(r"-?\d+", name) for name in classes) or list(classes) == sorted(classes, key=int):
        return
    log.warning(
        "%s: the class folders are numbers, but sorted as text, so that label 0, 1, ... is %s: for the order of the "
        "numbers, name all with equally many digits (%s)",
        printable(str(folder)),
        _first(classes),
        _first(sorted(name.zfill(max(map(len, classes))) for name in classes)),
    )


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")


def _files(folder: Path, path: Path) -> list[_File]:
    """The image files of a split in order; what is passed over is counted and said."""
    if not _is_folder(folder):
        _explain(path, f"there is no folder {folder}")
    found: list[_File] = []
    passed: Counter[str] = Counter()
    for label in sorted(entry for entry in folder.iterdir() if not entry.name.startswith(".")):
        if not _is_folder(label):
            passed[_BESIDE] += label.suffix.lower() in SUFFIXES
            continue
        images = [_File(file.name, label.name, file) for file in label.iterdir() if _counts(file, passed)]
        if not images and folder.name == "train":
            deeper = f" of its own, but {passed[_DEEPER]} in folders below" if passed[_DEEPER] else ""
            _explain(path, f"the class folder {label} has no images{deeper}")
        found += images
    said = ", ".join(f"{count} {what}" for what, count in sorted(passed.items()) if count)
    if not found:
        _explain(path, f"there are no images in {folder}/<class>{said and ', but '}{said}")
    if said:
        log.warning("%s: passed over %s", printable(str(folder)), said)
    return sorted(found)


def _is_folder(entry: Path) -> bool:
    """Whether it is a folder, or a link to one.

    Raises:
        HarnessError: for a link to nothing.
    """
    if entry.is_symlink() and not entry.exists():
        raise HarnessError(printable(f"{entry} is a broken link (to {entry.readlink()}): repair or remove it"))
    return entry.is_dir()


def _counts(file: Path, passed: Counter[str]) -> bool:
    """Whether it is one of the class's images; if it is something else, it is counted in ``passed`` by what it is."""
    if file.is_dir():
        passed[_DEEPER] += sum(below.suffix.lower() in SUFFIXES for below in file.rglob("*"))
    elif file.name.startswith("."):
        passed[_HIDDEN] += 1
    elif file.suffix.lower() not in SUFFIXES or not (_is_folder(file) or file.is_file()):
        passed[_OTHER] += 1
    else:
        return True
    return False


def _explain(path: Path, what: str) -> NoReturn:
    what = f"{what}: expected {path}/train/<class>/*.png and {path}/test/<class>/*.png (or val)"
    raise HarnessError(printable(what))


def _labels(files: Sequence[_File], classes: Sequence[str]) -> NDArray[np.int64]:
    index = {label: number for number, label in enumerate(classes)}
    return np.array([index[file.label] for file in files], dtype=np.int64)


def _state(path: Path, files: Sequence[_File]) -> str:
    digest = hashlib.sha256(os.fsencode(path))
    for file in files:
        status = file.path.stat()
        digest.update(os.fsencode(f"{file.path}\0{status.st_size}\0{status.st_mtime_ns}\n"))
    return digest.hexdigest()[:16]
