"""Files that are whole or not there at all, written without torch."""

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write_atomically(path: Path, write: Callable[[Path], object], *, flushed: bool = True) -> None:
    """Let ``write`` fill a file beside ``path``, flush it to disk and move it into place in one step.

    One that is not ``flushed`` may be empty after a power cut, until :func:`flush` was called.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        if flushed:
            flush(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Have the file on the disk when this returns."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def aside(path: Path) -> Path:
    """Give what is at ``path`` the first free of the names ``path.damaged``, ``path.damaged1``, ...: that name."""
    names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in count())
    return path.rename(next(name for name in names if not os.path.lexists(name)))


def save_array(path: Path, array: "NDArray[Any]") -> None:
    """As ``.npy``, of the name that ``path`` has."""
    import numpy as np

    write_atomically(path, lambda part: _fill(part, lambda file: np.save(file, array)))


def save_arrays(path: Path, **arrays: "NDArray[Any]") -> None:
    """As ``.npz``, each array under its name."""
    import numpy as np

    write_atomically(path, lambda part: _fill(part, lambda file: np.savez(file, **arrays)))  # type: ignore[arg-type]


def _fill(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Numpy gives a path another ending, and an open file none."""
    with path.open("wb") as file:
        write(file)


def save_text(path: Path, text: str, *, flushed: bool = True) -> None:
    """Readers see the old file or the new one, never half of one."""
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"), flushed=flushed)
