"""How values are written for people; one place, so that tables, filters and messages agree."""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

_MOST_NAMED = 3
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def threat_label(norm: str, eps: float) -> str:
    """A threat as ``Linf 8/255`` or ``Linf 0.2``; ``eps`` is in units of a [0, 1] image.

    Only an Linf radius of at most 32 whole grey levels is written as a fraction.
    """
    levels = eps * 255
    if norm == "Linf" and levels <= 32 and abs(levels - round(levels)) < 1e-3:
        return f"{norm} {round(levels)}/255"
    return f"{norm} {eps:.4g}"


def trained_at(settings: Mapping[str, Any]) -> str:
    """The threat that a training with these settings was for; empty where they do not say."""
    known = "threat.norm" in settings and "threat.eps" in settings
    return threat_label(settings["threat.norm"], settings["threat.eps"]) if known else ""


def ball_of(label: str) -> tuple[str, float]:
    """Norm and radius of a threat that :func:`threat_label` labelled."""
    norm, _, radius = label.partition(" ")
    return norm, float(Fraction(radius))


def protocol_id(train_spec: Mapping[str, Any]) -> str:
    """Six hexadecimal digits that trainings share which differ in their seed alone."""
    rest = {key: value for key, value in train_spec.items() if key != "seed"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:6]


def settings_of(train_spec: Mapping[str, Any]) -> dict[str, Any]:
    """All that a training depends on but its method and seed, flat: ``beta``, ..., ``protocol.lr``, ``threat.eps``."""
    method = train_spec["method"]
    rest = {key: value for key, value in train_spec.items() if key not in ("kind", "method", "seed")}
    own = {key: value for key, value in method.items() if key not in ("name", "params")}
    return {**method.get("params", {}), **dict(_flat({**own, **rest}))}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def protocol_labels(protocols: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """For each protocol of one method, by id, the settings in which it differs from the others: ``beta=3, epochs=10``.

    In their order, by number where values are numbers. A single protocol has none. Three settings are named at most;
    where these do not tell two protocols apart, the id does: ``@1b0e50``.
    """
    keys = dict.fromkeys(key for settings in protocols.values() for key in settings)
    differing = [key for key in keys if len({_value(each.get(key)) for each in protocols.values()}) > 1]
    named = {}
    for name, settings in protocols.items():
        parts = [_setting(key, settings[key], keys) for key in differing if key in settings]
        named[name] = ", ".join(parts[:_MOST_NAMED] + ["..."] * (len(parts) > _MOST_NAMED))
    alike = Counter(named.values())
    unclear = {name for name, text in named.items() if alike[text] > 1 or (len(named) > 1 and not text)}
    labels = {name: f"{text} @{name}".strip() if name in unclear else text for name, text in named.items()}
    return dict(sorted(labels.items(), key=lambda item: _by_numbers(item[1].partition("@")[0])))


def _by_numbers(text: str) -> list[tuple[float, str]]:
    parts = re.split(r"(\d+(?:\.\d+)?(?:e-?\d+)?)", text)
    return [(float(part), "") if place % 2 else (-1, part) for place, part in enumerate(parts)]


def method_labels(trainings: Iterable[tuple[str, str, Mapping[str, Any]]]) -> dict[tuple[str, str], str]:
    """A label for each method and protocol, by both, of trainings given as method, protocol's id and settings."""
    protocols: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for method, protocol, settings in trainings:
        protocols[method][protocol] = settings
    return {
        (method, protocol): method_label(method, text)
        for method, own in protocols.items()
        for protocol, text in protocol_labels(own).items()
    }


def method_label(method: str, protocol: str) -> str:
    """A method trained under a protocol with this label: ``trades (beta=3)``, ``trades @1b0e50`` or ``trades``."""
    if not protocol or protocol.startswith("@"):
        return f"{method} {protocol}".strip()
    return f"{method} ({protocol})"


def method_of(label: str) -> str:
    """The method that :func:`method_label` labelled."""
    return label.partition(" (")[0].partition(" @")[0]


def file_label(*parts: str) -> str:
    """Labels as part of a file name: ASCII, at most 100 characters."""
    return "_".join(re.sub(r"[^A-Za-z0-9.]+", "-", part).strip("-.") for part in parts)[-100:]


def _setting(key: str, value: Any, keys: Mapping[str, None]) -> str:
    """``lr=0.1``, by the last part of its name where no other setting ends like it."""
    short = key.rpartition(".")[2]
    alone = sum(other == short or other.endswith(f".{short}") for other in keys) == 1
    return f"{short if alone else key}={_value(value)}"


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)


def spreadsheet_text(value: object) -> object:
    """A cell of a CSV file; a text that a spreadsheet would run as a formula gets an apostrophe before it.

    One that has apostrophes there already gets one more, so that :func:`from_spreadsheet` gives every text back.
    https://owasp.org/www-community/attacks/CSV_Injection
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def from_spreadsheet(cell: str) -> str:
    """The text that :func:`spreadsheet_text` made the cell of."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
