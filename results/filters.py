"""Which rows are wanted, by the values of their columns."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute

from results.errors import HarnessError


def check_columns(equal: Iterable[str], columns: Collection[str]) -> None:
    """Raise a :class:`HarnessError` for a name that is no column."""
    for name in equal:
        if name not in columns:
            raise HarnessError(f"results have no column {name!r}: choose by {', '.join(columns)}")


def matches(row: Mapping[str, Any], equal: Mapping[str, object]) -> bool:
    """Whether the row has in each column the value, or one of the list, tuple or set of values, that is wanted."""
    return all(row[name] in _several(wanted) for name, wanted in equal.items())


def narrowed(
    query: Select[Any], columns: Mapping[str, InstrumentedAttribute[Any]], equal: Mapping[str, object]
) -> Select[Any]:
    """Leave out what :func:`matches` would, by these columns of text, which databases compare as Python does."""
    for name in equal.keys() & columns.keys():
        query = query.where(columns[name].in_([value for value in _several(equal[name]) if isinstance(value, str)]))
    return query


def _several(wanted: object) -> Collection[object]:
    return wanted if isinstance(wanted, list | tuple | set | frozenset) else (wanted,)
