"""From comparisons to what is read of them: one place for how cells, footnotes and records are worded."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from reports.grid import Block, Column, Grid, Line, Style, Value
from reports.table.comparison import OVERESTIMATION, OVERFITTING, RANK, Cell, Comparison, Row, percent, points
from reports.table.marks import Marks, highest, supported
from reports.table.notes import notes
from results.names import ordered_attacks

Names = Mapping[str, str]
_HEADINGS = {
    "natural": "Natural",
    "cw": "C&W",
    "autoattack": "AutoAttack",
    "adaptive": "Adaptive",
    "worst-case": "Worst case",
}
_NARROW = {
    "autoattack": "auto-\nattack",
    "adaptive": "adap-\ntive",
    "worst-case": "worst\ncase",
    OVERESTIMATION: "AA -\nworst",
    OVERFITTING: "best -\nlast",
}


def full(table: Comparison, wanted: Sequence[str] = (), names: Names | None = None) -> Grid:
    """Each accuracy with its interval or deviation, the highest of each column bold, the verdicts under the names.

    ``wanted`` are the columns in their order, all by default; ``names`` gives methods other names.
    """
    columns = columns_of([table], wanted)
    marks = highest(table, columns)
    lines = [line(table, row, columns, marks, names or {}) for row in table.rows]
    return replace(_grid(table, columns, lines), notes=notes([table], columns, intervals=True), stacked=True)


def compact(table: Comparison, wanted: Sequence[str] = (), names: Names | None = None) -> Grid:
    """One line for each method, one decimal, no intervals; what stands out is what :func:`supported` marks.

    Arguments are those of :func:`full`.
    """
    columns = columns_of([table], wanted)
    marks = supported(table, columns)
    lines = [line(table, row, columns, marks, names or {}, decimals=1, intervals=False) for row in table.rows]
    grid = _grid(table, columns, lines)
    return replace(grid, slug=f"compact_{grid.slug}", notes=notes([table], columns, intervals=False))


def _grid(table: Comparison, columns: Sequence[str], lines: Sequence[Line]) -> Grid:
    """The table with verdicts, each reason a numbered footnote."""
    marks = numbered(distrust(row) for row in table.rows)
    judged = (
        replace(each, verdict=Value(row.verdict, mark=marks.get(distrust(row), "")) if row.verdict else None)
        for each, row in zip(lines, table.rows, strict=True)
    )
    return Grid(
        slug=table.slug,
        title=table.title,
        columns=tuple(Column(name, _NARROW.get(name, "")) for name in columns),
        blocks=(Block(tuple(judged)),),
        footnotes={mark: reason for reason, mark in marks.items()},
    )


def columns_of(tables: Sequence[Comparison], wanted: Sequence[str] = ()) -> list[str]:
    """The columns that some table has: attacks, differences, the rank; of those ``wanted`` in their order, if any."""
    attacks = ordered_attacks(attack for table in tables for attack in table.attacks)
    differences = dict.fromkeys(name for table in tables for name in table.differences)
    there = [*attacks, *differences, *[RANK] * any(table.ranked for table in tables)]
    return [name for name in wanted if name in there] if wanted else there


def line(
    table: Comparison,
    row: Row,
    columns: Sequence[str],
    marks: Marks,
    names: Names,
    *,
    decimals: int = 2,
    intervals: bool = True,
) -> Line:
    """One method, not yet judged."""

    def value(name: str) -> Value | None:
        if name == RANK:
            return Value(str(row.rank)) if row.rank else None
        if name in row.differences:
            return Value(points(row.differences[name]))
        cell = row.cells.get(name)
        return measured(cell, marks.get((row.method, name), ""), decimals, intervals=intervals) if cell else None

    shown = Value(table.label(row, names))
    return Line(shown, tuple(map(value, columns)), record(row, columns, marks))


def measured(cell: Cell, style: Style = "", decimals: int = 2, *, intervals: bool = True) -> Value:
    """An accuracy in %: ``65.00 ± 1.80`` over several seeds, else with its interval, ``65.00 [58.16, 71.27]``.

    One that rests on a random sample has what the whole attack would leave in place of the interval:
    ``48.70 [48.30, 48.70]``, and ``48.70 ± 0.20 [48.30, 48.70]``.
    """
    text, style = percent(cell.accuracy, decimals), style or ("doubtful" if cell.inflated else "")
    if cell.std is not None:
        deviation = percent(cell.std, decimals)
        found = f" {cell.audited(decimals)}".rstrip()
        return Value(text, style, f"± {deviation}{found}", (f"±{deviation}{found}",))
    if cell.at_least is not None:
        return Value(text, style, cell.audited(decimals), (cell.audited(1), cell.audited(0)))
    finest, *coarser = (cell.interval(each) for each in (2, 1, 0))
    if finest is None or not intervals:
        return Value(text, style)
    return Value(text, style, f"[{', '.join(finest)}]", tuple("–".join(each) for each in coarser if each))


def record(row: Row, columns: Sequence[str], marks: Marks) -> dict[str, object]:
    """One method in :func:`numbers`, differences among them (fractions).

    ``rank`` is by worst case, ties are equal. ``best`` and ``second`` name the columns in which the method stands out.
    """
    found: dict[str, object] = {
        "method": row.method,
        "seeds": " ".join(map(str, row.seeds)),
        "verdict": row.verdict,
        "why": row.why,
    }
    for name in columns:
        if name in (OVERESTIMATION, OVERFITTING):
            found[name] = row.differences.get(name)
        elif name != RANK:
            found |= numbers(name, row.cells.get(name))
    found["rank"] = row.rank
    for style in ("best", "second"):
        found[style] = " ".join(name for name in columns if marks.get((row.method, name)) == style)
    return found


def numbers(name: str, cell: Cell | None) -> dict[str, object]:
    """An accuracy in full precision, as a fraction: its name, ``low``, ``high``, ``std``, ``examples``, ``at least``.

    ``low`` to ``high`` is a 95 % interval: Wilson's over the examples for one seed, Student's of the mean (cut to
    [0, 1]) for several, whose sample standard deviation is ``std``. ``at least`` is what the whole attack would leave,
    with 95 % confidence, where it was run on a sample. All are None where there is no cell.
    """
    found = (cell.accuracy, cell.low, cell.high, cell.std, cell.examples, cell.at_least) if cell else [None] * 6
    suffixes = ("", " low", " high", " std", " examples", " at least")
    return {f"{name}{suffix}": number for suffix, number in zip(suffixes, found, strict=True)}


def heading_of(column: str) -> str:
    """The column as papers write it: ``PGD-20``, ``C&W``; the name itself where it is not built in."""
    return column.upper() if re.match(r"fgsm|pgd-?\d*$", column) else _HEADINGS.get(column, column)


def distrust(row: Row, *, named: bool = False) -> str:
    """Why the row's numbers are not to be believed, behind the verdict if ``named``; empty if nothing is known."""
    if row.verdict in ("", "trusted"):
        return ""
    return f"{row.verdict}: {row.why}" if named and row.why else row.why or row.verdict


def numbered(reasons: Iterable[str], sign: str = "") -> dict[str, str]:
    """The mark of each reason: its number behind the sign, or the sign alone where there is one reason."""
    distinct = list(dict.fromkeys(filter(None, reasons)))
    if sign and len(distinct) == 1:
        return {distinct[0]: sign}
    return {reason: f"{sign}{number}" for number, reason in enumerate(distinct, start=1)}
