"""Decoded data sets on disk, one ``.npy`` file per array, so that the second start only maps them into memory."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock

from harness.api.data import Data, Split
from harness.api.errors import HarnessError

FORMAT = 1  # raise it when the decoding of any data set changes
_LONGEST = 200  # bytes; file systems take 255, and names beside it are a little longer


def cached(root: Path, key: str, build: Callable[[], Data]) -> Data:
    """The data set kept in ``root/cache`` under ``key``; ``build()`` makes it the first time.

    The folder appears whole or not at all, and of several processes that start at once one builds while the others
    wait. The arrays are read-only memory maps.

    Raises:
        HarnessError: if the folder cannot be written, or what is in it is damaged.
    """
    place = root / "cache" / f"{_file_name(key)}-v{FORMAT}"
    if not place.is_dir():
        _writable(place.parent)
        with FileLock(place.with_name(f"{place.name}.lock")):
            if not place.is_dir():
                _write(build(), place)
    try:
        return _read(place)
    except (OSError, ValueError, KeyError) as error:
        raise HarnessError(f"the cached data set {place} is damaged ({error}): delete that folder") from error


def _file_name(key: str) -> str:
    """The key, unless it is too long or no text: then its beginning in plain letters, and a hash."""
    encoded = os.fsencode(key)
    if len(encoded) <= _LONGEST and key.isprintable():
        return key
    return f"{re.sub(r'[^A-Za-z0-9.-]', '_', key)[:40]}-{hashlib.sha256(encoded).hexdigest()[:16]}"


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise HarnessError(f"cannot write to {folder} ({error}): name another folder with --data-root") from error


def _write(data: Data, place: Path) -> None:
    part = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=place.parent))
    try:
        for split in ("train", "test"):
            np.save(part / f"{split}_images.npy", getattr(data, split).images)
            np.save(part / f"{split}_labels.npy", getattr(data, split).labels)
        about = {field: getattr(data, field) for field in ("name", "classes", "fingerprint", "mean", "std")}
        (part / "about.json").write_text(json.dumps(about), encoding="utf-8")
        part.chmod(0o755)
        part.replace(place)
    except OSError as error:
        raise HarnessError(f"cannot keep the decoded {data.name} in {place}: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _read(place: Path) -> Data:
    about = json.loads((place / "about.json").read_text(encoding="utf-8"))
    train, test = (
        Split(np.load(place / f"{split}_images.npy", mmap_mode="r"), np.load(place / f"{split}_labels.npy"))
        for split in ("train", "test")
    )
    classes, mean, std = (tuple(about[field]) for field in ("classes", "mean", "std"))
    return Data(about["name"], train, test, classes, about["fingerprint"], mean, std)
