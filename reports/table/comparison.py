"""What a comparison table says, before it is written in any form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil, floor

from results.labels import file_label
from results.names import WORST_CASE
from results.verdicts import Verdicts

OVERESTIMATION = "AA - worst"
OVERFITTING = "best - last"
RANK = "rank"


@dataclass(frozen=True)
class Cell:
    """One method under one attack; all but ``examples`` are fractions.

    One seed: ``accuracy`` with its 95 % Wilson interval ``low`` to ``high``. Several: their mean with the sample
    standard deviation ``std`` and the 95 % t interval of the mean, cut to [0, 1]. ``inflated``: masking deceives this
    attack. ``best``: the highest of its column as printed (two decimals of a percentage) among those not inflated; ties
    are all best, and a worst case must be over every attack of the table. ``at_least``: where examples were spared a
    part of the attack, what the whole would leave with 95 % confidence (of several seeds: the mean of that).
    """

    accuracy: float
    examples: int
    low: float | None = None
    high: float | None = None
    std: float | None = None
    at_least: float | None = None
    inflated: bool = False
    best: bool = False

    def interval(self, decimals: int = 1) -> tuple[str, str] | None:
        """Its ends as percentages, rounded outwards; None if there is no interval."""
        return None if self.low is None or self.high is None else _outwards(self.low, self.high, decimals)

    def audited(self, decimals: int = 1) -> str:
        """``[48.3, 48.7]``: between what the whole attack would leave; empty where the accuracy is that."""
        if self.at_least is None:
            return ""
        return f"[{', '.join(_outwards(self.at_least, self.accuracy, decimals))}]"


@dataclass(frozen=True)
class Row:
    """One method: its cells by attack, its differences by name (fractions), and whether it is to be believed.

    ``method`` is its label: the ``name`` under which it is registered, and the protocol where there are several.
    ``verdict`` is ``trusted``, ``suspect`` or ``masked``, the worst of the seeds', or empty if nobody judged; ``why``
    gives its reasons. ``rank`` is that of its worst case, None where there is nothing to compare. ``trainings`` are
    the ids of its trainings, by seed; ``verdicts`` the outcomes of single examples, by attack and seed, where known.
    """

    method: str
    name: str
    seeds: tuple[int, ...]
    cells: Mapping[str, Cell]
    differences: Mapping[str, float]
    verdict: str = ""
    why: str = ""
    rank: int | None = None
    trainings: tuple[str, ...] = ()
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
    def setting(self) -> str:
        """The data set, model and threat."""
        return f"{self.dataset}, {self.model}, {self.threat}"

    @property
    def title(self) -> str:
        """What was compared."""
        return f"{self.setting}: {self.checkpoint} checkpoint"

    @property
    def origin(self) -> dict[str, object]:
        """Where the rows belong, for a file that holds those of several tables."""
        return {name: getattr(self, name) for name in ("dataset", "model", "threat", "checkpoint")}

    def label(self, row: Row, names: Mapping[str, str]) -> str:
        """The method by its other name if ``names`` has one, with its number of seeds where the rows differ in it."""
        label = names.get(row.name, row.name) + row.method.removeprefix(row.name)
        return f"{label} (n = {len(row.seeds)})" if self.uneven else label

    @cached_property
    def uneven(self) -> bool:
        """Whether the rows differ in their number of seeds."""
        return len({len(row.seeds) for row in self.rows}) > 1

    @cached_property
    def differences(self) -> tuple[str, ...]:
        """The columns of differences that some row has."""
        return tuple(
            name for name in (OVERESTIMATION, OVERFITTING) if any(name in row.differences for row in self.rows)
        )

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


def _outwards(low: float, high: float, decimals: int) -> tuple[str, str]:
    unit = 10**decimals
    ends = floor(round(100 * unit * low, 6)), ceil(round(100 * unit * high, 6))
    return f"{ends[0] / unit:.{decimals}f}", f"{ends[1] / unit:.{decimals}f}"


def percent(fraction: float, decimals: int = 2) -> str:
    """A fraction as a percentage, without the sign."""
    return f"{100 * fraction:.{decimals}f}"


def points(difference: float) -> str:
    """A difference of fractions in percentage points, signed; never a negative zero."""
    return f"{round(100 * difference, 2) + 0.0:+.2f}"
