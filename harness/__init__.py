"""Train, attack and compare adversarial-training methods under one protocol.

The names below are loaded when first used, so that importing the package (and ``harness --help``) stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness.api.errors import HarnessError
from harness.version import __version__

if TYPE_CHECKING:
    from harness.api.threat import Threat
    from harness.library.evaluate import Evaluation, evaluate
    from harness.library.experiment import run_experiment
    from harness.library.hub import load
    from harness.trust.findings import Finding

__all__ = [
    "Evaluation",
    "Finding",
    "HarnessError",
    "Threat",
    "__version__",
    "evaluate",
    "load",
    "run_experiment",
]

_HOMES = {
    "Evaluation": "harness.library.evaluate",
    "Finding": "harness.trust.findings",
    "Threat": "harness.api.threat",
    "evaluate": "harness.library.evaluate",
    "load": "harness.library.hub",
    "run_experiment": "harness.library.experiment",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
