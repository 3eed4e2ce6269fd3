"""What is registered, for ``harness methods`` and its relatives."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from harness.plugins import REGISTRIES, load_plugins


def entries(kind: str, plugins: Sequence[Path]) -> list[tuple[str, str, str]]:
    """Name, one-line summary and parameters with their defaults, in the order of registration."""
    load_plugins(plugins)
    return [(name, _summary(entry), _parameters(entry)) for name, entry in REGISTRIES[kind].items()]


def _summary(entry: Any) -> str:
    documented = getattr(entry, "summary", None) or entry.__doc__ or ""
    return str(documented).strip().splitlines()[0] if documented else ""


def _parameters(entry: Any) -> str:
    if not is_dataclass(entry):
        return ""
    return ", ".join(f"{field.name}={field.default}" for field in fields(entry))
