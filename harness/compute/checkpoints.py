"""Files that are whole or not there at all: text, weights and training state."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.api.errors import HarnessError


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

    Raises:
        HarnessError: if the file is missing, damaged, or belongs to another architecture (the first differing
            names are given).
    """
    if not path.is_file():
        raise HarnessError(f"weights file {path} does not exist")
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise HarnessError(f"weights file {path} cannot be read: {error}") from error
    except Exception as error:  # pickle's own errors have no common base class
        raise HarnessError(f"weights file {path} is not a plain state dict: {error}") from error
    state = _plain_state(state)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        ours, theirs = set(model.state_dict()), set(state)
        raise HarnessError(
            f"weights file {path} does not fit {type(model).__name__}: missing {sorted(ours - theirs)[:3]}, "
            f"unexpected {sorted(theirs - ours)[:3]} ({str(error).splitlines()[-1].strip()})"
        ) from error


def _plain_state(state: Any) -> dict[str, Tensor]:
    """Unwrap the usual wrappings of published checkpoints: a 'state_dict' entry, a 'module.' prefix."""
    if not isinstance(state, Mapping):
        raise HarnessError(f"a weights file must hold a state dict, got {type(state).__name__}")
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state.get(key), Mapping):
            state = state[key]
    return {name.removeprefix("module."): value for name, value in state.items()}


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Everything that training needs to go on, as tensors and plain values."""
    write_atomically(path, lambda part: torch.save(dict(state), part))


def load_state(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The saved training state, or None when there is none yet."""
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, device, weights_only=True)
    return state
