"""Files of weights: what one is, by its first bytes and not by its name, and what is in it."""

import re
import tarfile
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file

from harness.api.errors import HarnessError

# What people take for weights, by how it begins (white space aside).
_OTHERS = {
    b"version https://git-lfs": "is a Git LFS pointer, not the weights: get them with git lfs pull",
    b"<": "is a web page, not the weights: download the file itself",
    b"{": "is JSON text, such as an index of files, not the weights: give the file that holds them",
    b"\x1f\x8b": "is compressed (gzip): unpack it",
    b"BZh": "is compressed (bzip2): unpack it",
    b"\xfd7zXZ": "is compressed (xz): unpack it",
    b"(\xb5/\xfd": "is compressed (zstd): unpack it",
    b"\x89HDF": "is an HDF5 file, such as Keras writes: save the weights as a state dict of torch tensors",
}
_SAVE = "Where the model was made, save its weights alone: torch.save(model.state_dict(), 'weights.pt')"
_LONGEST_HEADER = 100_000_000  # bytes, of safetensors
_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # with which torch.save began before it wrote archives
_ROUNDS = 200


class Inert:
    """Stands for an object of any class in a pickle: neither that class nor any code of the file is run."""

    kind = ""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def read_weights(path: Path) -> Any:
    """What ``torch.save`` or safetensors wrote into the file; what is not made of tensors is :class:`Inert` there.

    Raises:
        HarnessError: if the file is missing, damaged or something else.
    """
    if path.is_dir():
        raise HarnessError(f"weights file {path} is a folder: give a file in it")
    if not path.is_file():
        raise HarnessError(f"weights file {path} does not exist")
    try:
        with path.open("rb") as file:
            head = file.read(64)
        if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _LONGEST_HEADER:
            return load_file(path)
        if wrong := _something_else(path, head):
            raise HarnessError(f"weights file {path} {wrong}")
        return _unpickled(path)
    except HarnessError:
        raise
    except Exception as error:  # there is no common base of what damage raises
        raise HarnessError(f"weights file {path} cannot be read: {reason(error)}") from error


def refuse_objects(path: Path, objects: str) -> HarnessError:
    """The error for a file whose weights are inside objects of the classes named."""
    return HarnessError(
        f"weights file {path} holds more than weights (a pickled {objects}), "
        f"and reading that could run any code. {_SAVE}"
    )


def reason(error: Exception) -> str:
    """Why torch could not load a file, in one sentence and without its advice to run what is in it."""
    named = re.search(r"GLOBAL (\S+)", str(error))
    if named:
        return f"it names {named[1]}, and to load that could run any code"
    return str(error).partition(". ")[0].partition("\n")[0] or type(error).__name__


def _something_else(path: Path, head: bytes) -> str | None:
    """What the file is, and what would be right, if it is neither safetensors nor a pickle."""
    if not head:
        return "cannot be read: it is empty"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if known := next((what for magic, what in _OTHERS.items() if start.startswith(magic)), None):
        return known
    if head.startswith(b"PK"):
        return _of_archive(path)
    if tarfile.is_tarfile(path):
        return "is a tar archive: unpack it"
    if _MAGIC not in head:
        pickled = " but a pickle" if head.startswith(b"\x80") else ""
        return f"cannot be read: it is neither safetensors nor written by torch.save{pickled}. {_SAVE}"
    return None


def _of_archive(path: Path) -> str | None:
    """The same for a zip archive, as ``torch.save`` writes one too."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return "cannot be read: it is damaged or not whole"
    inside = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inside:
        return "is a TorchScript archive: give it as the model, with torch.jit.load in the factory"
    if "data.pkl" in inside:
        return None
    if names and all(name.endswith(".npy") for name in names):
        return "is an archive of NumPy arrays: save them as a state dict of torch tensors"
    if any(name.startswith("models/") for name in inside):
        return "is a program of torch.export: give it as the model, with torch.export.load in the factory"
    return f"is a zip archive ({', '.join(names[:3])}): unpack it"


def _unpickled(path: Path) -> Any:
    """Read it once more for every class that it names beside tensors, with a stand-in for that class."""
    inert: list[Any] = []
    for _ in range(_ROUNDS):
        try:
            with torch.serialization.safe_globals(inert), path.open("rb") as file:  # not its name: that decides nothing
                return torch.load(file, "cpu", weights_only=True)
        except UnpicklingError as error:
            named = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
            name = named[1] if named else ""
            if not name or any(name == each.kind for each, _ in inert):
                blocked = re.search(r"GLOBAL (\S+)", str(error))
                known = inert[-1][0].kind if inert else "object"
                raise refuse_objects(path, blocked[1] if blocked else known) from error
            stand_in = type("Inert", (Inert,), {"kind": name})
            inert += [(stand_in, full) for full in (name, f"builtins.{name}")]
    raise refuse_objects(path, "many classes")
