"""The data sets: a plugin module that registers every built-in one, and :func:`load`, which finds them by name.

Files in, arrays of bytes out; must not know what is trained or attacked with them.
"""

from pathlib import Path

from harness.api.data import Data, datasets
from harness.datasets import arrays, embedded, folder, standard, tiny_imagenet

__all__ = ["PREFIXES", "arrays", "embedded", "folder", "load", "located", "stamp", "standard", "tiny_imagenet"]
PREFIXES = (folder.PREFIX, arrays.PREFIX)  # of data sets that are named by where they lie


def load(name: str, root: Path) -> Data:
    """The data set that a user names: a registered name, ``imagefolder:PATH`` or ``npz:FILE``.

    ``root`` is where archives are looked for and downloaded to, and where decoded arrays are kept (``root/cache``,
    which may be deleted at any time). The arrays may be read-only views of those files.

    Raises:
        UnknownName: for any other name; the message offers the nearest one.
        HarnessError: if the images cannot be had, or a file is corrupt.
    """
    if name.startswith(folder.PREFIX):
        return folder.load_folder(Path(name.removeprefix(folder.PREFIX)), root)
    if name.startswith(arrays.PREFIX):
        return arrays.load_arrays(Path(name.removeprefix(arrays.PREFIX)))
    return datasets[name](root)


def located(name: str, folder: Path) -> str:
    """The name of a data set with its path, if it has one, absolute: what is relative is so to the folder."""
    for prefix in PREFIXES:
        if name.startswith(prefix):
            return f"{prefix}{(folder / Path(name.removeprefix(prefix)).expanduser()).resolve()}"
    return name


def stamp(name: str, root: Path) -> str | None:
    """A text that stays the same as long as :func:`load` would give the same images, without loading them.

    None for data sets that a plugin defines.

    Raises:
        HarnessError: for an image folder that cannot be read.
    """
    if name.startswith(folder.PREFIX):
        return folder.folder_stamp(Path(name.removeprefix(folder.PREFIX)))
    if name.startswith(arrays.PREFIX):
        return arrays.array_stamp(Path(name.removeprefix(arrays.PREFIX)))
    built_in = name in datasets and datasets[name].__module__.startswith(f"{__name__}.")
    return f"{name} in {root}" if built_in else None
