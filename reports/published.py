"""What others have published: figures with their sources, from the file that ships here and a user's own."""

import csv
from dataclasses import dataclass
from fractions import Fraction
from importlib.resources import files
from io import StringIO
from pathlib import Path

from results.errors import HarnessError
from results.labels import from_spreadsheet, threat_label

FIELDS = ("method", "dataset", "model", "epsilon", "attack", "accuracy", "source", "note")


@dataclass(frozen=True)
class Claim:
    """One published accuracy (a fraction), and where it stands; ``threat`` as the tables write it."""

    method: str
    dataset: str
    model: str
    threat: str
    attack: str
    accuracy: float
    source: str
    note: str


def read_published(own: Path | None = None) -> list[Claim]:
    """The figures that ship with the harness, then those of the user's own CSV file.

    A file has the columns of ``FIELDS``: ``epsilon`` is ``8/255`` or ``0.031`` for Linf and ``L2 0.5`` for another
    norm, ``accuracy`` in percent, ``source`` where the figure stands, ``note`` may be empty. Names may be written as
    our own CSV files write them.

    Raises:
        HarnessError: if a file cannot be read or a line is not such a figure; the message names file, line and field.
    """
    shipped = files("reports") / "published.csv"
    found = _read(shipped.read_text(encoding="utf-8"), "published.csv")
    if own is None:
        return found
    try:
        return found + _read(own.read_text(encoding="utf-8-sig"), str(own))
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"published figures cannot be read from {own}: {error}") from error


def _read(text: str, name: str) -> list[Claim]:
    reader = csv.DictReader(StringIO(text), strict=True)
    if tuple(reader.fieldnames or ()) != FIELDS:
        given = ",".join(reader.fieldnames or ())
        raise HarnessError(f"{name}: published figures have the columns {','.join(FIELDS)}, got {given or 'none'}")
    return [_claim(fields, f"{name}, line {reader.line_num}") for fields in reader]


def _claim(fields: dict[str, str], place: str) -> Claim:
    if None in fields or None in fields.values():
        raise HarnessError(f"{place}: a published figure has {len(FIELDS)} fields, one for each column")
    text = {name: from_spreadsheet(value.strip()) for name, value in fields.items()}
    empty = [name for name in FIELDS if name != "note" and not text[name]]
    if empty:
        raise HarnessError(f"{place}: a published figure needs {' and '.join(empty)}, got an empty field")
    accuracy = _number(text["accuracy"])
    if accuracy is None or not 0 <= accuracy <= 100:
        raise HarnessError(f"{place}: accuracy must be in percent, 0 to 100, got {text['accuracy']!r}")
    *norms, radius = text["epsilon"].split()
    norm, eps = " ".join(norms) or "Linf", _number(radius)
    if norm not in ("Linf", "L2") or eps is None or eps <= 0:
        raise HarnessError(f"{place}: epsilon must be like 8/255, 0.031 or L2 0.5, got {text['epsilon']!r}")
    place_of = {name: text[name] for name in ("method", "dataset", "model", "attack", "source", "note")}
    return Claim(**place_of, threat=threat_label(norm, eps), accuracy=accuracy / 100)


def _number(text: str) -> float | None:
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        return None
