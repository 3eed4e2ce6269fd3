"""What figures are drawn of, and which methods of a large table they show."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reports.published import Claim
from reports.table import Comparison, Row
from results.features import Features
from results.names import WORST_CASE

if TYPE_CHECKING:
    from pandas import DataFrame


MOST = 30  # methods in one figure


@dataclass(frozen=True)
class Source:
    """The chosen results: rows of the long form, their tables, epochs of :func:`trainings_of`, published figures.

    ``features`` are those of all checkpoints that have any; ``jobs`` is the folder of the job directories.
    """

    frame: "DataFrame"
    history: "DataFrame"
    tables: Sequence[Comparison] = ()
    claims: Sequence[Claim] = ()
    features: Sequence[Features] = ()
    jobs: Path | None = None

    def features_of(self, table: Comparison) -> dict[str, Features]:
        """By method of the table those of its first training that has any, at the table's checkpoint."""
        known = {each.train_id: each for each in self.features if each.checkpoint == table.checkpoint}
        own = ((row, next((known[name] for name in row.trainings if name in known), None)) for row in table.rows)
        return {row.method: found for row, found in own if found}

    def classes_of(self, table: Comparison) -> NDArray[np.int32]:
        """The labels of the first test examples, as many as are known; of the whole data set, whatever the method."""
        return max((each.labels for each in self.features_of(table).values()), key=len, default=np.zeros(0, np.int32))


def trainings_of(tables: Sequence[Comparison]) -> list[str]:
    """The ids of all trainings that figures of these tables may show."""
    return [name for table in tables for row in best_of(table, MOST).rows for name in row.trainings]


def best_of(table: Comparison, most: int) -> Comparison:
    """The table with at most so many methods: the best by worst case, in the order of the table."""
    ranked = sorted(table.rows, key=_badness)
    chosen = {row.method for row in ranked[:most]}
    return replace(table, rows=tuple(row for row in table.rows if row.method in chosen))


def _badness(row: Row) -> float:
    return -row.cells[WORST_CASE].accuracy if WORST_CASE in row.cells else 1.0


def title_of(shown: Comparison, table: Comparison) -> str:
    """The title of a figure that shows a part of the table."""
    left = f"\nthe best {len(shown.rows)} of {len(table.rows):,} by worst case" if shown.rows != table.rows else ""
    return f"{shown.title}{left}"
