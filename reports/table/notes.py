"""What a reader must know to judge the numbers: sample, uncertainty, what stands out and why."""

from collections.abc import Iterable, Sequence

from reports.table.comparison import OVERESTIMATION, OVERFITTING, RANK, Comparison, Row

_HIGHEST = "Bold: best in its column."
_SUPPORTED = (
    "Bold: best of its column{}, significantly better at 5 % than every method that is not bold; those that are bold "
    "cannot be told apart. Underlined: the same among the others. Nothing is marked where the data cannot tell ({}; "
    "Holm's correction over all pairs of a column)."
)
_INFLATED = "Italic: an attack that the masking of this model deceives; such a number is never best."
_AUDITED = (
    "In brackets after an accuracy that rests on a random sample: between what the whole attack would leave, with 95 % "
    "confidence; its Wilson interval is in the CSV file."
)
_DIFFERENCES = {
    OVERESTIMATION: "overestimation by AutoAttack: points of its accuracy above the worst case of all attacks.",
    OVERFITTING: "points of worst-case accuracy lost after the best checkpoint (robust overfitting).",
}
_RANK = (
    "rank: 1 + the number of methods whose worst-case accuracy is significantly higher at 5 % on the same examples "
    "({}; Holm's correction over all pairs); equal ranks are ties."
)
_MCNEMAR = "exact McNemar tests, which with one seed compare trained models"


def notes(tables: Sequence[Comparison], columns: Sequence[str], *, intervals: bool) -> tuple[str, ...]:
    """The notes of these columns, with intervals and the highest numbers marked, or without and what tests support."""
    rows = [row for table in tables for row in table.rows]
    cells = [row.cells[name] for row in rows for name in columns if name in row.cells]
    several = " and block" * (len(tables) > 1)
    marked = _HIGHEST if intervals else _SUPPORTED.format(several, _tests(rows, "Welch's t-tests over seeds"))
    found = sample(tables)
    found += [*uncertainty(tables, intervals=intervals), marked] * bool(cells)
    found += [_AUDITED] * any(cell.at_least is not None for cell in cells)
    found += [_INFLATED] * any(cell.inflated for cell in cells)
    found += [f"{name}: {_DIFFERENCES[name]}" for name in columns if name in _DIFFERENCES]
    found += [_RANK.format(_tests(rows, "paired t-tests over seeds"))] * (RANK in columns)
    return tuple(found)


def sample(tables: Sequence[Comparison]) -> list[str]:
    """What was measured on what, and what it was trained for where that is another threat."""
    rows = [row for table in tables for row in table.rows]
    seeds = sorted({seed for row in rows for seed in row.seeds})
    threats, checkpoints = ({getattr(table, name): None for table in tables} for name in ("threat", "checkpoint"))
    trained = sorted({threat for table in tables for threat in table.trained})
    measured = (
        f"Accuracy in % on {_span(cell.examples for row in rows for cell in row.cells.values())} test examples; "
        f"{', '.join(threats)}; {' and '.join(checkpoints)} checkpoint; "
        f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}."
    )
    return [measured, *([f"Trained at {', '.join(trained)}."] if trained else [])]


def uncertainty(tables: Sequence[Comparison], *, intervals: bool) -> list[str]:
    """How sure the numbers are, and where the intervals are that are not shown."""
    rows = [row for table in tables for row in table.rows]
    repeated = [len(row.seeds) for row in rows if len(row.seeds) > 1]
    shown = "Ranges: 95 % Wilson intervals, rounded outwards."
    found = [shown if intervals else "95 % Wilson intervals are in the CSV file."] * (len(repeated) < len(rows))
    if repeated:
        deviation = f"±: mean and sample standard deviation over n = {_span(repeated)} seeds"
        found.append(f"{deviation}; 95 % t intervals of the mean are in the CSV file.")
    return found


def _tests(rows: Sequence[Row], over_seeds: str) -> str:
    """The tests that are used: which one depends on the seeds of two methods."""
    repeated = [len(row.seeds) > 1 for row in rows]
    return " and ".join([over_seeds] * any(repeated) + [_MCNEMAR] * (not all(repeated)))


def _span(numbers: Iterable[int]) -> str:
    ordered = sorted(numbers)
    low, high = ordered[0], ordered[-1]
    return f"{low}" if low == high else f"{low} to {high}"
