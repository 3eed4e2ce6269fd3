"""Two methods against each other, in a sentence."""

from typing import TYPE_CHECKING

from reports.table.build import SETTING, check, comparison
from reports.table.comparison import Comparison
from results.compare import compare, sentence
from results.errors import HarnessError, UnknownName
from results.names import WORST_CASE

if TYPE_CHECKING:
    from pandas import DataFrame

_KINDS = {"dataset": "data set"}


def versus(
    frame: "DataFrame",
    first: str,
    second: str,
    *,
    attack: str = WORST_CASE,
    checkpoint: str = "best",
    **choices: str | None,
) -> str:
    """Who wins, by how much and how sure, and what speaks against believing either.

    ``frame`` is the long form with ``verdicts``, and may have ``verdict`` and ``why``. ``first`` and ``second`` are
    methods; one that was trained under several protocols is named with its protocol, ``trades@4fee9c``. ``choices``
    are a ``dataset``, ``model`` or ``threat``.

    Raises:
        HarnessError: if something is unknown, ambiguous or was not attacked alike; the message lists what there is.
    """
    check(frame)
    wanted = {"checkpoint": checkpoint, **{name: value for name, value in choices.items() if value is not None}}
    own = [_chosen(_method(frame, name), name, wanted) for name in (first, second)]
    setting = _common_setting(first, second, *own)
    own = [_chosen(rows, name, setting) for rows, name in zip(own, (first, second), strict=True)]
    one, other = (_table(rows, name, attack) for rows, name in zip(own, (first, second), strict=True))
    if set(own[0]["train_id"]) & set(own[1]["train_id"]):
        raise HarnessError(f"a comparison takes two methods, got {first} and {second}, which are the same trainings")
    if attack == WORST_CASE and set(one.attacks) != set(other.attacks):
        raise HarnessError(
            f"the worst cases are over different attacks: {first} {_over(one)}; {second} {_over(other)}. "
            "Attack both alike, or name one attack with --attack"
        )
    found = compare(one.comparable(one.rows[0], attack), other.comparable(other.rows[0], attack))
    said = [sentence(first, second, found, f"{attack} accuracy", one.title.replace(": ", ", "))]
    for name, table in ((first, one), (second, other)):
        if table.rows[0].verdict not in ("", "trusted"):
            said.append(f"{name} is {table.rows[0].verdict}: {table.rows[0].why}.")
    return " ".join(said)


def _method(frame: "DataFrame", name: str) -> "DataFrame":
    """The rows of ``METHOD`` or ``METHOD@PROTOCOL``."""
    method, _, protocol = (part.strip() for part in name.partition("@"))
    rows = _only(frame, "method", method, "method")
    return _only(rows, "protocol", protocol, f"protocol of {method}") if protocol else rows


def _chosen(rows: "DataFrame", name: str, wanted: dict[str, str]) -> "DataFrame":
    for column, value in wanted.items():
        rows = _only(rows, column, value, f"{_KINDS.get(column, column)} of {name}")
    return rows


def _only(rows: "DataFrame", column: str, value: str, kind: str) -> "DataFrame":
    known = rows[column].unique()
    if value not in known:
        raise UnknownName(kind, value, known)
    return rows[rows[column] == value]


def _common_setting(first: str, second: str, one: "DataFrame", other: "DataFrame") -> dict[str, str]:
    """The data set, model and threat of both."""
    settings = [set(rows[list(SETTING)].itertuples(index=False, name=None)) for rows in (one, other)]
    common = settings[0] & settings[1]
    if not common:
        raise HarnessError(
            f"{first} and {second} have no data set, model and threat in common: {first} has {_list(settings[0])}; "
            f"{second} has {_list(settings[1])}"
        )
    if len(common) > 1:
        raise HarnessError(
            f"{first} and {second} can be compared on {_list(common)}: choose one with --dataset, --model or --threat"
        )
    return dict(zip(SETTING, common.pop(), strict=True))


def _over(table: Comparison) -> str:
    return ", ".join(attack for attack in table.attacks if attack != WORST_CASE)


def _list(settings: set[tuple[str, ...]]) -> str:
    return " or ".join(sorted(", ".join(setting) for setting in settings))


def _table(rows: "DataFrame", name: str, attack: str) -> Comparison:
    """The table of one method under one protocol, a single row."""
    protocols = {
        str(protocol): ", ".join(map(str, sorted(seeds.unique())))
        for protocol, seeds in rows.groupby("protocol", sort=False)["seed"]
    }
    if len(protocols) > 1:
        there_are = ", ".join(f"{name}@{protocol} (seeds {seeds})" for protocol, seeds in protocols.items())
        raise HarnessError(f"{name} was trained under several protocols: name one of {there_are}")
    _only(rows, "attack", attack, f"attack of {name}")
    return comparison(rows, checkpoint=str(rows["checkpoint"].iloc[0]))
