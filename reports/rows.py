"""Rows of the long form as a user names them."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from reports.methods import labelled
from results.errors import UnknownName

if TYPE_CHECKING:
    from pandas import DataFrame

_KINDS = {"dataset": "data set"}


def of_method(frame: "DataFrame", name: str) -> "DataFrame":
    """The rows of ``METHOD``, of ``METHOD@PROTOCOL``, or of the label that the tables have for it.

    Raises:
        UnknownName: with the nearest name, here as below.
    """
    asked = re.fullmatch(r"\s*(?P<method>.*?)\s*(?:@\s*(?P<protocol>\w*)|\((?P<settings>.*)\))?\s*", name)
    assert asked
    rows = only(frame, "method", asked["method"], "method")
    if asked["protocol"]:
        return only(rows, "protocol", asked["protocol"], f"protocol of {asked['method']}")
    if asked["settings"]:
        return only(labelled(rows), "label", f"{asked['method']} ({asked['settings']})", "row")
    return rows


def chosen(rows: "DataFrame", name: str, wanted: Mapping[str, object]) -> "DataFrame":
    """The rows of the method ``name`` that have the wanted value in each column; None: any."""
    for column, value in wanted.items():
        if value is not None:
            rows = only(rows, column, value, f"{_KINDS.get(column, column)} of {name}")
    return rows


def only(rows: "DataFrame", column: str, value: object, kind: str) -> "DataFrame":
    """The rows with this value in the column, of which there must be some."""
    known = rows[column].unique()
    if value not in known:
        raise UnknownName(kind, str(value), map(str, known))
    return rows[rows[column] == value]
