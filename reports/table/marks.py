"""Which numbers of a column stand out, and by what right."""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from results.compare import better, means_test
from results.names import WORST_CASE

if TYPE_CHECKING:
    from reports.grid import Style
    from reports.table.comparison import Comparison, Row

Marks = Mapping[tuple[str, str], "Style"]  # by the label of the row and the attack


def highest(table: "Comparison", attacks: Iterable[str]) -> Marks:
    """``best`` is the highest number as printed: whoever reads it sees the intervals."""
    return {
        (row.method, attack): "best"
        for row in table.rows
        for attack in attacks
        if attack in row.cells and row.cells[attack].best
    }


def supported(table: "Comparison", attacks: Iterable[str]) -> Marks:
    """``best`` and ``second`` where tests support it, at 5 % with Holm's correction over all pairs of the column.

    The tests are those of :func:`results.compare.means_test`. ``best`` are the methods that no other one significantly
    beats, if each of them significantly beats every other: one method, or a group that the data cannot tell apart.
    ``second`` are the same among the remaining methods, where there is a best. So in a column in which one method ties
    with two that differ, nothing is marked, nor where all tie. Numbers that masking inflates, and worst cases over
    fewer attacks than another row's, take no part; a number that cannot be tested beats nothing and is not beaten.
    """
    marks: dict[tuple[str, str], Style] = {}
    for attack in attacks:
        entrants = _entrants(table, attack)
        better_than = better([table.comparable(row, attack) for row in entrants], means_test)
        best = _leaders(range(len(entrants)), better_than)
        second = _leaders(set(range(len(entrants))) - best, better_than) if best else set()
        marks |= {(entrants[place].method, attack): "best" for place in best}
        marks |= {(entrants[place].method, attack): "second" for place in second}
    return marks


def _entrants(table: "Comparison", attack: str) -> list["Row"]:
    needed = set(table.attacks) if attack == WORST_CASE else {attack}
    return [row for row in table.rows if needed <= row.cells.keys() and not row.cells[attack].inflated]


def _leaders(places: Collection[int], better_than: NDArray[np.bool_]) -> set[int]:
    """Those that none beats, if each of them beats every other and there is another; otherwise nobody."""
    among = sorted(places)
    beats = better_than[np.ix_(among, among)]
    top = ~beats.any(axis=0)
    proven = not top.all() and beats[np.ix_(top, ~top)].all()
    return {among[place] for place in np.flatnonzero(top)} if proven else set()
