"""Weights and training state in files that are whole or not there at all."""

import logging
import zipfile
from collections.abc import Collection, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from harness.api.errors import HarnessError
from harness.compute.files import aside, write_atomically
from harness.compute.memory import ran_out
from harness.compute.weight_files import read_weights, reason
from harness.compute.wrappings import difference, misfit, tied, unwrapped

log = logging.getLogger("harness")


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """A state dict as safetensors, on the CPU."""
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    write_atomically(path, lambda part: part.write_bytes(save(state)))


def load_weights(path: Path, model: nn.Module) -> None:
    """Load weights from safetensors, or from a file of ``torch.save``, of which no code is run.

    The usual wrappings of published checkpoints are taken off (:mod:`harness.compute.wrappings`), and a warning says
    which, and what in the file was left out.

    Raises:
        HarnessError: if the file is missing, damaged, or belongs to another architecture (the first differing
            names are given).
    """
    ours = model.state_dict(keep_vars=True)
    found = unwrapped(path, read_weights(path), ours)
    said = " and ".join(found.taken_off)
    left = f"left out {found.left_out}" if found.left_out else ""
    what = f"weights file {path} does not fit {type(model).__name__}: "
    if wrong := misfit(found.state, ours):
        raise HarnessError(what + wrong)
    try:
        model.load_state_dict({**found.state, **tied(found.state, ours)})
    except Exception as error:  # a model's own hooks raise anything
        wrong = difference(found.state, ours) or str(error).strip().splitlines()[-1].strip()
        raise HarnessError(what + wrong + (left and f", {left}")) from error
    if said or left:
        log.warning("weights file %s: %s", path, "; ".join(filter(None, (said and f"read {said}", left))))


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Everything that training needs to go on, as tensors and plain values."""
    content = BytesIO()  # torch, writing a file itself, does not say that the disk is full
    torch.save(dict(state), content)
    write_atomically(path, lambda part: part.write_bytes(content.getbuffer()))


def load_state(path: Path, device: torch.device, names: Collection[str]) -> dict[str, Any] | None:
    """The saved state, which must hold ``names``; None when there is none yet, or none that can be used.

    ``torch.save`` writes a CRC-32 of each part of its archive, which ``torch.load`` does not look at: here they are
    checked. No code in the file is run. What cannot be used is moved aside, with a warning, and the work starts afresh.
    """
    if not path.is_file():
        return None
    try:
        _check_sums(path)
        state = torch.load(path, device, weights_only=True)
        if not isinstance(state, dict) or not state.keys() >= set(names):
            raise HarnessError("it holds something else")
    except Exception as error:  # there is no common base of what damage raises
        if isinstance(error, OSError) or ran_out(error):
            raise
        log.warning("%s cannot be resumed from: %s; starting afresh", path, reason(error))
        aside(path)
        return None
    return state


def _check_sums(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if broken := archive.testzip():
            raise HarnessError(f"{broken} has another checksum than it says")
