"""Published figures beside measured ones: the two meet in no number but their difference."""

from collections.abc import Iterable, Sequence
from itertools import groupby, product

from reports.grid import Block, Column, Grid, Line, Value
from reports.methods import ordered_methods
from reports.paper import daggers_of
from reports.published import Claim
from reports.table.comparison import Cell, Comparison, Row, percent, points
from reports.table.layout import Names, distrust, heading_of, numbered
from reports.table.notes import sample
from results.errors import HarnessError
from results.names import NATURAL, attack_rank

_COLUMNS = ("attack", "published", "ours", "95 %", "difference", "inside", "adaptive")
_NOTES = (
    "published: as its source states it, never part of our numbers. 95 %: our interval, Wilson's over the examples "
    "with one seed, Student's of the mean over several. difference: ours minus published, in points. inside: whether "
    "the published figure lies in our interval. adaptive: our accuracy under the attack that knows the defence.",
)


def claims(tables: Sequence[Comparison], published: Sequence[Claim], names: Names) -> Grid:
    """The published figures of every data set, model and threat that was measured, ours beside them.

    A figure of a method or attack that was not measured stands alone.

    Raises:
        HarnessError: if no figure is of a setting that was measured.
    """
    parts = [(table, own) for table in tables if (own := _of(table, published))]
    sources = numbered(_source(claim) for _, own in parts for claim in own)
    if not parts:
        measured = "; ".join(dict.fromkeys(table.setting for table in tables))
        raise HarnessError(
            f"none of {len(published)} published figures is of what was measured here, {measured}: "
            "give more figures with --published FILE.csv"
        )
    shown = [table for table, _ in parts]
    daggers = daggers_of(shown)
    blocks = [Block(tuple(_lines(table, own, names, sources, daggers)), table.title) for table, own in parts]
    return Grid(
        slug="claims",
        title="Published beside measured",
        columns=tuple(Column(name, text=name == "attack") for name in _COLUMNS),
        blocks=tuple(blocks),
        footnotes={mark: text for text, mark in (*sources.items(), *daggers.items())},
        notes=(*sample(shown), *_NOTES),
    )


def _of(table: Comparison, published: Sequence[Claim]) -> list[Claim]:
    """The figures of the table's setting in the order of its methods, then from weak attacks to strong."""
    place = (table.dataset, table.model, table.threat)
    own = [claim for claim in published if (claim.dataset, claim.model, claim.threat) == place]
    methods = ordered_methods(claim.method for claim in own)
    return sorted(own, key=lambda claim: (methods.index(claim.method), attack_rank(claim.attack)))


def _source(claim: Claim) -> str:
    return f"{claim.source}: {claim.note}" if claim.note else claim.source


def _lines(table: Comparison, own: Sequence[Claim], names: Names, sources: Names, daggers: Names) -> Iterable[Line]:
    for name, figures in groupby(own, key=lambda claim: claim.method):
        rows: list[Row | None] = [row for row in table.rows if row.name == name]
        for row, claim in product(rows or [None], figures):
            label = table.label(row, names) if row else names.get(name, name)
            mark = daggers.get(distrust(row, named=True), "") if row else ""
            yield _line(table, Value(label, mark=mark), row, claim, sources[_source(claim)])


def _line(table: Comparison, name: Value, row: Row | None, claim: Claim, source: str) -> Line:
    """One figure, and ours if there is one."""
    cell = row.cells.get(claim.attack) if row else None
    adaptive = row.cells.get("adaptive") if row and claim.attack != NATURAL else None
    values = (
        Value(heading_of(claim.attack)),
        Value(percent(claim.accuracy), mark=source),
        *(_ours(claim, cell) if cell else [None] * 4),
        Value(percent(adaptive.accuracy)) if adaptive else None,
    )
    record = {
        "method": row.method if row else claim.method,
        "attack": claim.attack,
        "published": claim.accuracy,
        "ours": cell.accuracy if cell else None,
        "low": cell.low if cell else None,
        "high": cell.high if cell else None,
        "examples": cell.examples if cell else None,
        "adaptive": adaptive.accuracy if adaptive else None,
        "verdict": row.verdict if row else None,
        "source": claim.source,
        "note": claim.note,
    }
    return Line(name, values, table.origin | record)


def _ours(claim: Claim, cell: Cell) -> list[Value | None]:
    """Our accuracy, its interval, the difference, and whether the claim is inside."""
    shown = [Value(percent(cell.accuracy), "doubtful" if cell.inflated else ""), None]
    difference = Value(points(cell.accuracy - claim.accuracy))
    ends = cell.interval(2)
    if cell.low is None or cell.high is None or ends is None:
        return [*shown, difference, None]
    inside = cell.low <= claim.accuracy <= cell.high
    return [shown[0], Value(" to ".join(ends)), difference, Value("yes" if inside else "no")]
