"""Methods that break, for the scheduler's tests: loaded with ``--plugin``."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F

from harness.api.method import LossTerms, Method, method


@method("faulty")
@dataclass(frozen=True, kw_only=True)
class Faulty(Method):
    """Always raises."""

    summary = "always raises"
    group = "faulty-ones"

    def loss(self, model, x, y, threat, step):
        zero = 0
        return 1 / zero


@method("fails-once")
@dataclass(frozen=True, kw_only=True)
class FailsOnce(Method):
    """Raises until the file named in FAULTY_MARKER exists."""

    summary = "raises the first time"
    group = "faulty-ones"

    def loss(self, model, x, y, threat, step):
        marker = Path(os.environ["FAULTY_MARKER"])
        if not marker.exists():
            marker.touch()
            raise OSError("the first time")
        return LossTerms(F.cross_entropy(model(x), y))
