"""RobustBench 1.1.1 as PyPI ships it, made importable.

Three faults are bridged: it imports ``pkg_resources`` (which setuptools 81 removed, and which warns before that); it
imports ``autoattack``, which its own dependency installs as ``pyautoattack``; and it calls that package by argument
names and a result that pyautoattack 0.2 changed. Import RobustBench through :func:`load` only.
"""

import importlib
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pyautoattack
import pyautoattack.state
import torch
from torch import Tensor, nn

from harness.api.errors import HarnessError
from harness.attacks.reference import own_trace


def load() -> ModuleType:
    """The module ``robustbench``, with ``robustbench.utils``, ``.data`` and ``.eval`` imported.

    Raises:
        HarnessError: if robustbench or a setuptools that it can work with is missing.
    """
    for module, requirement in (("robustbench", "robustbench>=1.1.1,<1.2"), ("pkg_resources", "setuptools<81")):
        if find_spec(module) is None:
            raise HarnessError(f"RobustBench needs {module!r}, which is not installed: pip install '{requirement}'")
    with warnings.catch_warnings(), _alias():
        warnings.simplefilter("ignore")
        return importlib.import_module("robustbench")


@contextmanager
def _alias() -> Iterator[None]:
    """While RobustBench is imported, ``autoattack`` is pyautoattack as it used to be; a real one comes first."""
    if find_spec("autoattack"):
        yield
        return
    alias = ModuleType("autoattack")
    alias.AutoAttack = AutoAttack  # type: ignore[attr-defined]
    sys.modules |= {"autoattack": alias, "autoattack.state": pyautoattack.state}
    try:
        yield
    finally:
        del sys.modules["autoattack"], sys.modules["autoattack.state"]


class AutoAttack(pyautoattack.AutoAttack):  # type: ignore[misc]
    """pyautoattack's AutoAttack under the arguments of the original package.

    ``device`` "cuda" falls back to the CPU where there is no GPU. ``verbose`` messages go to the logger
    "auto-attack", and to the file ``log_path`` if there is one.
    """

    def __init__(
        self,
        model: nn.Module,
        norm: str = "Linf",
        eps: float = 0.3,
        seed: int | None = None,
        verbose: bool = True,
        attacks_to_run: list[str] | None = None,
        version: str = "standard",
        device: torch.device | str = "cuda",
        log_path: str | Path | None = None,
    ) -> None:
        if torch.device(device).type == "cuda" and not torch.cuda.is_available():
            device = "cpu"
        super().__init__(
            model, norm=norm, eps=eps, seed=seed, attacks=attacks_to_run or None, version=version, device=device
        )
        self.verbose = verbose
        self.log_path = log_path

    def run_standard_evaluation(
        self, x_orig: Tensor, y_orig: Tensor, bs: int = 250, state_path: Path | None = None
    ) -> Tensor:
        """The adversarial images (N, C, H, W), in batches of ``bs``.

        Raises:
            HarnessError: if a ``state_path`` is given: pyautoattack's saved state cannot be resumed.
        """
        if state_path is not None:
            raise HarnessError(f"AutoAttack's state cannot be resumed: leave aa_state_path out, got {state_path}")
        with _written_to(self.logger, self.log_path), own_trace():
            x_adv: Tensor = super().run_standard_evaluation(x_orig, y_orig, batch_size=bs)[0]
        return x_adv


@contextmanager
def _written_to(logger: Any, path: str | Path | None) -> Iterator[None]:
    if path is None:
        yield
        return
    handler, level = logging.FileHandler(path), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()
