"""The user's ``--set OWNER.FIELD=VALUE`` texts, checked against what their owners take."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from itertools import product
from typing import Any, Literal, get_type_hints

from pydantic import ValidationError

from harness.api.errors import HarnessError, UnknownName
from harness.api.method import methods
from harness.api.specs import Precision, Protocol
from harness.api.values import parse_value
from harness.trust.findings import limit_names

PlannedPrecision = Literal["auto", Precision]


def combinations(texts: Sequence[str]) -> list[list[str]]:
    """Every choice of one value for each of the ``--set`` texts: ``trades.beta=1,3`` is one or the other.

    A list in brackets is one value, and so is a limit of a diagnostic.
    """
    choices = []
    for text in texts:
        name, equals, values = text.partition("=")
        single = values.lstrip().startswith("[") or name.strip().startswith("diagnostics.")
        choices.append([text] if single else [f"{name}{equals}{value}" for value in values.split(",")])
    return [list(chosen) for chosen in product(*choices)]


class Settings:
    """The ``--set owner.field=value`` texts by owner; one that is none of the ``owners`` is a misspelling."""

    def __init__(self, texts: Iterable[str], owners: Sequence[str]) -> None:
        self.values: dict[str, dict[str, str]] = {}
        for text in texts:
            name, equals, value = text.partition("=")
            owner, dot, key = name.strip().partition(".")
            if not equals or not dot or not owner or not key:
                raise HarnessError(f"--set takes OWNER.FIELD=VALUE with OWNER one of {', '.join(owners)}, got {text!r}")
            if owner in methods and owner not in owners:
                raise HarnessError(f"--set {text} is for {owner}, which is not asked for: add it to --methods")
            if owner not in owners:
                raise UnknownName("owner of a --set", owner, owners)
            self.values.setdefault(owner, {})[key] = value.strip()

    def parsed(self, owner: str, types: dict[str, Any]) -> dict[str, Any]:
        """The owner's settings as values of their types."""
        values: dict[str, Any] = {}
        for key, text in self.values.get(owner, {}).items():
            if key not in types:
                raise UnknownName(f"setting of {owner}", key, types)
            values[key] = parse_value(f"{owner}.{key}", text, types[key])
        return values

    def limits(self) -> dict[str, float]:
        """The thresholds of the diagnostics that the user set, by name."""
        return self.parsed("diagnostics", dict.fromkeys(limit_names(), float))

    def method_params(self, name: str) -> dict[str, Any]:
        """All hyperparameters of a method: its defaults with the user's changes, checked by the method itself."""
        method = methods[name]
        hints = get_type_hints(method)  # resolved, also where a plugin postpones annotations
        types = {each.name: hints[each.name] for each in fields(method)}  # type: ignore[arg-type]
        return asdict(method(**self.parsed(name, types)))  # type: ignore[call-overload, no-any-return]

    def apply_to_protocol(self, default: Protocol, short: dict[str, Any], auto: Precision) -> Protocol:
        """The protocol with the user's changes; ``auto`` is what that word stands for as a precision."""
        types: dict[str, Any] = {name: info.annotation for name, info in Protocol.model_fields.items()}
        types["precision"] = PlannedPrecision
        changed = default.model_dump() | short | self.parsed("protocol", types)
        if changed["precision"] == "auto":
            changed["precision"] = auto
        try:
            return Protocol.model_validate(changed)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise HarnessError(f"protocol.{key} = {first['input']!r}: {first['msg']}") from error
