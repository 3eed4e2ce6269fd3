"""Two methods against each other, in a sentence."""

import shlex
from typing import TYPE_CHECKING

from reports.methods import SETTING, labelled
from reports.rows import chosen, of_method, only
from reports.table.build import check, comparison
from reports.table.comparison import Comparison
from results.compare import compare, sentence
from results.errors import HarnessError
from results.names import WORST_CASE

if TYPE_CHECKING:
    from pandas import DataFrame


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
    methods; one that was trained under several protocols is named as the tables name it, ``trades (beta=3)``, or with
    the id of its protocol, ``trades@4fee9c``. ``choices`` are a ``dataset``, ``model`` or ``threat``.

    Raises:
        HarnessError: if something is unknown, ambiguous or was not attacked alike; the message lists what there is.
    """
    check(frame)
    wanted = {"checkpoint": checkpoint, **choices}
    own = [chosen(of_method(frame, name), name, wanted) for name in (first, second)]
    setting = _common_setting(first, second, *own)
    own = [chosen(rows, name, setting) for rows, name in zip(own, (first, second), strict=True)]
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
            f"{first} and {second} can be compared on {_list(common)}: choose one with {_options(common)}"
        )
    return dict(zip(SETTING, common.pop(), strict=True))


def _over(table: Comparison) -> str:
    return ", ".join(attack for attack in table.attacks if attack != WORST_CASE)


def _list(settings: set[tuple[str, ...]]) -> str:
    return " or ".join(sorted(", ".join(setting) for setting in settings))


def _options(settings: set[tuple[str, ...]]) -> str:
    """The options that choose each of the settings, ready to be pasted."""
    several = [place for place, values in enumerate(zip(*settings, strict=True)) if len(set(values)) > 1]
    return " or ".join(
        " ".join(f"--{SETTING[place]} {shlex.quote(setting[place])}" for place in several)
        for setting in sorted(settings)
    )


def _table(rows: "DataFrame", name: str, attack: str) -> Comparison:
    """The table of one method under one protocol, a single row."""
    shown = labelled(rows).groupby("label", sort=False)["seed"]
    if len(shown) > 1:
        there_are = ", ".join(
            f"{shlex.quote(str(label))} (seeds {', '.join(map(str, sorted(seeds.unique())))})" for label, seeds in shown
        )
        raise HarnessError(f"{name} was trained under several protocols: name one of {there_are}")
    only(rows, "attack", attack, f"attack of {name}")
    return comparison(rows, checkpoint=str(rows["checkpoint"].iloc[0]))
