"""Rows as JSON of few bytes: column by column, each value once."""

import json
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from reports.page.entries import Entry, Score
from results.names import ordered_attacks

Json = Any
_PLAIN = (
    "measured",
    "method",
    "dataset",
    "model",
    "threat",
    "checkpoint",
    "verdict",
    "why",
    "rank",
    "trained",
    "source",
)


def compact(entries: Sequence[Entry]) -> dict[str, Json]:
    """What the page's script reads (``page.js``): ``rows`` says how many, the rest are columns.

    A column is ``{"words": distinct values, "at": the place of each row's}``; in one with ``lists`` as well, ``at``
    leads to a list of places of words. Percentages are whole hundredths: 6400 is 64.00 %. A score is ``[accuracy, low,
    high, examples, std, at least, inflated, note]``, cut where the rest is empty, in the column ``score:ATTACK``.
    """
    columns = {name: _column(getattr(entry, name) for entry in entries) for name in _PLAIN}
    columns["gap"] = _column(_hundredths(entry.gap) for entry in entries)
    columns["seeds"] = _column(tuple(entry.seeds) for entry in entries)
    columns["trainings"] = _column(tuple(entry.trainings) for entry in entries)
    columns["paper"] = _column(
        tuple(entry.paper.get(name, "") for name in ("title", "url", "bibtex")) for entry in entries
    )
    columns["settings"] = _lists(entry.settings for entry in entries)
    columns["command"] = _lists(entry.command.split(" ") for entry in entries)
    columns["findings"] = _lists([text for finding in entry.findings for text in finding] for entry in entries)
    for attack in ordered_attacks(score.attack for entry in entries for score in entry.scores):
        columns[f"score:{attack}"] = _column(_score(entry.score(attack)) for entry in entries)
    return {"rows": len(entries), "columns": columns}


def script_json(value: Json) -> str:
    """JSON that can stand in a ``<script>`` element: no text in it can end the element or begin a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _score(score: Score | None) -> tuple[Hashable, ...] | None:
    if score is None:
        return None
    shown = [_hundredths(each) for each in (score.accuracy, score.low, score.high)]
    rest = [_hundredths(each) for each in (score.std, score.at_least)]
    full: list[Hashable] = [*shown, score.examples, *rest, int(score.inflated), score.note]
    while len(full) > 1 and full[-1] in (None, 0, ""):
        full.pop()
    return tuple(full)


def _hundredths(fraction: float | None) -> int | None:
    return None if fraction is None else round(10000 * fraction)


def _column(values: Iterable[Hashable]) -> dict[str, Json]:
    words: dict[Hashable, int] = {}
    at = [words.setdefault(value, len(words)) for value in values]
    return {"words": [*words], "at": at}


def _lists(values: Iterable[Sequence[str]]) -> dict[str, Json]:
    words: dict[str, int] = {}
    lists = _column(tuple(words.setdefault(text, len(words)) for text in value) for value in values)
    return {"words": [*words], "lists": lists["words"], "at": lists["at"]}
