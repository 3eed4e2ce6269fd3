"""What a comparison table says, before it is written in any form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil, floor

from results.labels import file_label
from results.names import WORST_CASE
from results.verdicts import Verdicts

BEST_NOTE = "Bold: best in its column."
MASKED_NOTE = "Italic: an attack that the masking of this model deceives; such a number is never best."
OVERESTIMATION = "AA - worst"
OVERFITTING = "best - last"
_NOTES = {
    OVERESTIMATION: "overestimation by AutoAttack: points of its accuracy above the worst case of all attacks.",
    OVERFITTING: "points of worst-case accuracy lost after the best checkpoint (robust overfitting).",
}
_RANK_NOTE = (
    "rank: 1 + the number of methods whose worst-case accuracy is significantly higher at 5 % on the same examples "
    "({}; Holm's correction over all pairs); equal ranks are ties."
)


@dataclass(frozen=True)
class Cell:
    """One method under one attack; all but ``examples`` are fractions.

    One seed: ``accuracy`` with its 95 % Wilson interval ``low`` to ``high``. Several: their mean with the sample
    standard deviation ``std`` and the 95 % t interval of the mean, cut to [0, 1]. ``inflated``: masking deceives this
    attack. ``best``: the highest of its column as printed (two decimals of a percentage) among those not inflated; ties
    are all best, and a worst case must be over every attack of the table.
    """

    accuracy: float
    examples: int
    low: float | None = None
    high: float | None = None
    std: float | None = None
    inflated: bool = False
    best: bool = False

    def interval(self, decimals: int = 1) -> tuple[str, str] | None:
        """Its ends as percentages, rounded outwards; None if there is no interval."""
        if self.low is None or self.high is None:
            return None
        unit = 10**decimals
        low, high = floor(round(100 * unit * self.low, 6)), ceil(round(100 * unit * self.high, 6))
        return f"{low / unit:.{decimals}f}", f"{high / unit:.{decimals}f}"


@dataclass(frozen=True)
class Row:
    """One method: its cells by attack, its differences by name (fractions), and whether it is to be believed.

    ``verdict`` is ``trusted``, ``suspect`` or ``masked``, the worst of the seeds', or empty if nobody judged; ``why``
    gives its reasons. ``rank`` is that of its worst case, None where there is nothing to compare. ``verdicts`` are the
    outcomes of single examples, by attack and seed, where they are known.
    """

    method: str
    seeds: tuple[int, ...]
    cells: Mapping[str, Cell]
    differences: Mapping[str, float]
    verdict: str = ""
    why: str = ""
    rank: int | None = None
    verdicts: Mapping[str, Mapping[int, Verdicts]] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class Comparison:
    """The methods on one data set, model and threat, at one checkpoint.

    ``trained`` are the threats that they were trained for, where these are others.
    """

    dataset: str
    model: str
    threat: str
    checkpoint: str
    attacks: tuple[str, ...]
    rows: tuple[Row, ...]
    trained: tuple[str, ...] = ()

    @property
    def slug(self) -> str:
        """The title as part of a file name: ASCII, at most 100 characters."""
        return file_label(self.dataset, self.model, self.threat, self.checkpoint)

    @property
    def title(self) -> str:
        """What was compared."""
        return f"{self.dataset}, {self.model}, {self.threat}: {self.checkpoint} checkpoint"

    def label(self, row: Row) -> str:
        """The method, with its number of seeds where the rows differ in it."""
        uneven = len({len(other.seeds) for other in self.rows}) > 1
        return f"{row.method} (n = {len(row.seeds)})" if uneven else row.method

    @cached_property
    def differences(self) -> tuple[str, ...]:
        """The columns of differences that some row has."""
        return tuple(name for name in _NOTES if any(name in row.differences for row in self.rows))

    @property
    def ranked(self) -> bool:
        """Whether any row has a rank."""
        return any(row.rank is not None for row in self.rows)

    def comparable(self, row: Row, attack: str) -> dict[int, Verdicts]:
        """The row's verdicts under an attack by seed; a worst case only of seeds that every attack was run on."""
        needed = self.attacks if attack == WORST_CASE else (attack,)
        common = [row.verdicts.get(name, {}).keys() for name in needed]
        return {
            seed: verdicts
            for seed, verdicts in row.verdicts.get(attack, {}).items()
            if all(seed in seeds for seeds in common)
        }

    @cached_property
    def reasons(self) -> tuple[str, ...]:
        """The footnotes: each reason once, those of masked and suspect rows."""
        return tuple(dict.fromkeys(row.why for row in self.rows if row.why and row.verdict != "trusted"))

    def mark(self, row: Row) -> str:
        """The number of the row's footnote, from 1; empty if it has none."""
        return str(self.reasons.index(row.why) + 1) if row.why in self.reasons else ""

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know to judge the numbers: sample, uncertainty, and what bold and italic mean."""
        cells = [cell for row in self.rows for cell in row.cells.values()]
        seeds = sorted({seed for row in self.rows for seed in row.seeds})
        notes = [
            f"Accuracy in % on {_span([cell.examples for cell in cells])} test examples; {self.threat}; "
            f"{self.checkpoint} checkpoint; seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}.",
            *([f"Trained at {', '.join(self.trained)}."] if self.trained else []),
            *_uncertainty(self.rows),
            BEST_NOTE,
        ]
        if any(cell.inflated for cell in cells):
            notes.append(MASKED_NOTE)
        notes += [f"{name}: {_NOTES[name]}" for name in self.differences]
        if self.ranked:
            notes.append(_RANK_NOTE.format(" and ".join(_tests(self.rows))))
        return tuple(notes)


def _tests(rows: tuple[Row, ...]) -> list[str]:
    """The tests behind the ranks: which one depends on the seeds that two methods share."""
    repeated = [len(row.seeds) > 1 for row in rows]
    several = ["paired t-tests over seeds"] if any(repeated) else []
    return several if all(repeated) else [*several, "exact McNemar tests, which with one seed compare trained models"]


def _uncertainty(rows: tuple[Row, ...]) -> list[str]:
    repeated = [len(row.seeds) for row in rows if len(row.seeds) > 1]
    notes = ["Ranges: 95 % Wilson intervals, rounded outwards."] if len(repeated) < len(rows) else []
    if repeated:
        deviation = f"±: mean and sample standard deviation over n = {_span(repeated)} seeds"
        notes.append(f"{deviation}; 95 % t intervals of the mean are in the CSV file.")
    return notes


def _span(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"


def percent(fraction: float) -> str:
    """A fraction as a percentage with two decimals, without the sign."""
    return f"{100 * fraction:.2f}"


def points(difference: float) -> str:
    """A difference of fractions in percentage points, signed; never a negative zero."""
    return f"{round(100 * difference, 2) + 0.0:+.2f}"
