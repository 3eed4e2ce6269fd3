"""What it took to train and to attack each method."""

from collections.abc import Sequence
from math import floor, log10
from statistics import mean, stdev
from typing import TYPE_CHECKING

from reports.grid import Block, Column, Grid, Line, Value
from reports.table.comparison import Comparison
from reports.table.layout import Names
from results.names import WORST_CASE

if TYPE_CHECKING:
    from pandas import DataFrame

Costs = dict[str, float]  # of one training
TRAINING_HOURS, _MEMORY, _SPEED, _ATTACKS, ATTACK_PASSES = COSTS = (
    "training hours",
    "GiB",
    "images/s",
    "attack hours",
    "passes/example",
)
_NOTES = (
    "training hours: wall time of all epochs; GiB: most memory held on the device, where that can be measured; "
    "images/s: training images by that time; attack hours: wall time of all evaluations of the checkpoint; "
    "passes/example: their forward and backward passes by test examples. "
    "Several seeds: mean ± sample standard deviation.",
)


def cost(tables: Sequence[Comparison], frame: "DataFrame", history: "DataFrame", names: Names) -> Grid | None:
    """Means over the seeds of each method; None where nothing was measured.

    ``frame`` is the long form with ``seconds``, ``forwards`` and ``backwards``; ``history`` has the epochs of the
    trainings with ``seconds``, ``images_per_second``, ``peak_memory`` and ``device``. What is not known is left out.
    """
    blocks = []
    for table in tables:
        costs, lines = costs_of(table, frame, history), []
        for row in table.rows:
            values = costs[row.method]
            record = table.origin | {"method": row.method, "seeds": " ".join(map(str, row.seeds))}
            for name, own in values.items():
                record |= {name: mean(own) if own else None, f"{name} std": stdev(own) if len(own) > 1 else None}
            shown = tuple(_value(own) for own in values.values())
            lines.append(Line(Value(table.label(row, names)), shown, record))
        blocks.append(Block(tuple(lines), table.setting))
    if not any(value for block in blocks for line in block.lines for value in line.values):
        return None
    return Grid(
        slug="paper_cost",
        title="Cost of training and of attacks",
        columns=tuple(Column(name, name.replace(" ", "\n")) for name in COSTS),
        blocks=tuple(blocks),
        notes=(_where(tables, history), *_NOTES),
    )


def costs_of(table: Comparison, frame: "DataFrame", history: "DataFrame") -> dict[str, dict[str, list[float]]]:
    """By method of the table and name of the cost, what is known of its trainings: of one seed or several, or none."""
    trained, attacked, found = _trainings(history), _attacks(frame, table), {}
    for row in table.rows:
        costs = [trained.get(each, {}) | attacked.get(each, {}) for each in row.trainings]
        found[row.method] = {name: [each[name] for each in costs if name in each] for name in COSTS}
    return found


def _where(tables: Sequence[Comparison], history: "DataFrame") -> str:
    trainings = {each for table in tables for row in table.rows for each in row.trainings}
    devices = history.loc[history["train_id"].isin(trainings), "device"].dropna().unique()
    checkpoints = dict.fromkeys(table.checkpoint for table in tables)
    return f"Trained on {', '.join(sorted(devices)) or 'unknown devices'}; {' and '.join(checkpoints)} checkpoint."


def _trainings(history: "DataFrame") -> dict[str, Costs]:
    """By training."""
    images = history["images_per_second"] * history["seconds"]
    epochs = history.assign(images=images).groupby("train_id")
    totals = epochs.agg({"seconds": "sum", "images": "sum", "peak_memory": "max"})
    found = {}
    for train_id, seconds, images, memory in totals.itertuples():
        measured = {TRAINING_HOURS: seconds / 3600, _SPEED: images / seconds if seconds else 0, _MEMORY: memory / 2**30}
        found[train_id] = {name: float(value) for name, value in measured.items() if value > 0}
    return found


def _attacks(frame: "DataFrame", table: Comparison) -> dict[str, Costs]:
    """By training, at the table's checkpoint and threat."""
    where = (frame["checkpoint"] == table.checkpoint) & (frame["threat"] == table.threat)
    own = frame[where & (frame["attack"] != WORST_CASE)]
    own = own.assign(passes=(own["forwards"] + own["backwards"]) / own["examples"])
    costs = {
        train_id: {_ATTACKS: seconds / 3600, ATTACK_PASSES: passes}
        for train_id, seconds, passes in own.groupby("train_id")[["seconds", "passes"]].sum().itertuples()
    }
    for train_id in own.loc[own["passes"].isna(), "train_id"].unique():
        del costs[train_id][ATTACK_PASSES]
    return costs


def _value(numbers: Sequence[float]) -> Value | None:
    """Their mean with three significant digits or to the unit, and how far they deviate."""
    if not numbers:
        return None
    decimals = max(0, 2 - floor(log10(mean(numbers)))) if mean(numbers) > 0 else 0
    deviation = f"± {stdev(numbers):.{decimals}f}" if len(numbers) > 1 else ""
    return Value(f"{mean(numbers):.{decimals}f}", beside=deviation)
