"""Train, attack and compare adversarial-training methods under one protocol.

The names below are loaded when first used, so that importing the package (and ``harness --help``) stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.version import __version__

if TYPE_CHECKING:
    from harness.diagnostics import Finding
    from harness.library import Evaluation, evaluate
    from harness.threat import Threat

__all__ = ["Evaluation", "Finding", "HarnessError", "Threat", "__version__", "evaluate"]

_HOMES = {
    "Evaluation": "harness.library",
    "Finding": "harness.diagnostics",
    "Threat": "harness.threat",
    "evaluate": "harness.library",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
