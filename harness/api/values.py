"""Values that users type as text: ``8/255``, ``0.031``, ``[0.5, 0.75]``, ``true``."""

import json
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.api.errors import HarnessError


def parse_value(name: str, text: str, kind: Any) -> Any:
    """The text as a value of the type ``kind``; a number may be a fraction (8/255), a list is written as JSON.

    Raises:
        HarnessError: if it is no such value; the message begins with ``name``.
    """
    wanted: TypeAdapter[Any] = TypeAdapter(kind)
    try:
        return wanted.validate_python(text)
    except ValidationError as error:
        problem = str(error.errors()[0]["msg"])
    try:
        return wanted.validate_python(_read(text))
    except ValidationError as error:
        problem = str(error.errors()[0]["msg"])
    except json.JSONDecodeError as error:
        if text.startswith("["):
            problem = f"this is no list such as [0.5, 0.75]: {error}"
    except (ValueError, ZeroDivisionError, RecursionError):
        pass
    hint = "" if text.startswith("[") else " (a fraction such as 8/255 is a number)"
    raise HarnessError(f"{name}: {problem}{hint}, got {text!r}")


def _read(text: str) -> Any:
    """The number that a fraction stands for, or what JSON says."""
    numerator, slash, denominator = text.partition("/")
    return float(numerator) / float(denominator) if slash and not text.startswith("[") else json.loads(text)
