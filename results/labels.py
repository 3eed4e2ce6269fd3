"""How values are written for people; one place, so that tables, filters and messages agree."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def threat_label(norm: str, eps: float) -> str:
    """A threat as ``Linf 8/255`` or ``Linf 0.2``; ``eps`` is in units of a [0, 1] image.

    Only an Linf radius of at most 32 whole grey levels is written as a fraction.
    """
    levels = eps * 255
    if norm == "Linf" and levels <= 32 and abs(levels - round(levels)) < 1e-3:
        return f"{norm} {round(levels)}/255"
    return f"{norm} {eps:.4g}"


def protocol_id(train_spec: Mapping[str, Any]) -> str:
    """Six hexadecimal digits that trainings share which differ in their seed alone."""
    rest = {key: value for key, value in train_spec.items() if key != "seed"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:6]
