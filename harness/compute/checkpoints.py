"""Files that are whole or not there at all: text, weights and training state."""

import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.api.errors import HarnessError
from harness.compute.wrappings import difference, unwrapped

log = logging.getLogger("harness")


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file beside ``path``, flush it to disk and move it into place in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def save_text(path: Path, text: str) -> None:
    """Readers see the old file or the new one, never half of one."""
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """A state dict as safetensors, on the CPU."""
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    write_atomically(path, lambda part: save_file(state, part))


def load_weights(path: Path, model: nn.Module) -> None:
    """Load weights from ``.safetensors``, or from a file that ``torch.load(weights_only=True)`` reads.

    The usual wrappings of published checkpoints are taken off (:mod:`harness.compute.wrappings`), and a warning says
    which.

    Raises:
        HarnessError: if the file is missing, damaged, or belongs to another architecture (the first differing
            names are given).
    """
    if not path.is_file():
        raise HarnessError(f"weights file {path} does not exist")
    found = unwrapped(path, _read(path), model.state_dict())
    if found.taken_off:
        log.warning("weights file %s: read %s", path, " and ".join(found.taken_off))
    try:
        model.load_state_dict(found.state)
    except RuntimeError as error:
        what = f"weights file {path} does not fit {type(model).__name__}: {difference(found.state, model.state_dict())}"
        raise HarnessError(what) from error


def _read(path: Path) -> Any:
    scalar = np.float64(0).__reduce__()[0]
    numbers: list[Any] = [np.dtype, *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core"))]
    numbers += [type(np.dtype(kind)) for kind in "?bhilqBHILQefd"]
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(numbers):  # such as a best accuracy kept beside the weights
            return torch.load(path, "cpu", weights_only=True)
    except UnpicklingError as error:
        raise HarnessError(
            f"weights file {path} holds more than weights ({_refused(error)}), and reading that could run any code. "
            "Where the model was made, save its weights alone: torch.save(model.state_dict(), 'weights.pt')"
        ) from error
    except Exception as error:  # there is no common base of what damage raises
        raise HarnessError(f"weights file {path} cannot be read: {str(error).partition('. ')[0]}") from error


def _refused(error: UnpicklingError) -> str:
    """What a safe reader refused, by name; torch's own message is advice to read it unsafely."""
    named = re.search(r"GLOBAL (\S+)", str(error))
    return f"a pickled {named[1]}" if named else "a pickle"


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Everything that training needs to go on, as tensors and plain values."""
    write_atomically(path, lambda part: torch.save(dict(state), part))


def load_state(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The saved training state, or None when there is none yet."""
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, device, weights_only=True)
    return state
