"""Attacks by the names that users type: ``fgsm``, ``pgd-20``, ``pgd-100:restarts=5``, ``pgd-50:step_size=2/255``."""

import re
from dataclasses import fields
from typing import Any, get_type_hints

from harness.api.attack import Attack, attacks
from harness.api.errors import HarnessError, UnknownName
from harness.api.values import parse_value

_NUMBERED = re.compile(r"(?P<family>.+)-(?P<steps>\d+)")


def resolve(name: str) -> Attack:
    """The attack called ``FAMILY[-STEPS][:PARAMETER=VALUE]...``; numbers may be fractions such as ``2/255``.

    Raises:
        UnknownName: for an attack or a parameter that does not exist; the message offers the nearest.
        HarnessError: for a value of the wrong type or out of its range, or a parameter set twice.
    """
    head, *settings = name.split(":")
    cls = attacks[family(name)]
    types = get_type_hints(cls)
    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    if head not in attacks:
        settings.insert(0, f"steps={head.rpartition('-')[2]}")
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise HarnessError(f"attack {name!r}: expected PARAMETER=VALUE after ':', got {setting!r}")
        if not known:
            raise HarnessError(f"attack {family(name)!r} has no parameters, got {name!r}")
        if key not in known:
            raise UnknownName(f"parameter of attack {family(name)!r}", key, known)
        if key in values:
            raise HarnessError(f"attack {name!r} sets {key} twice")
        values[key] = parse_value(f"attack {name!r}: {key}", text, types[key])
    return cls(**values)


def family(name: str) -> str:
    """The registered name of the attack that ``name`` belongs to: ``pgd`` for ``pgd-100:restarts=5``.

    Raises:
        UnknownName: if there is none.
    """
    head = name.partition(":")[0]
    numbered = _NUMBERED.fullmatch(head)
    if head not in attacks and numbered:
        head = numbered["family"]
    attacks[head]
    return head
