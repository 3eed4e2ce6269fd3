"""The best checkpoint of each training beside its last: what is lost by training on."""

from collections.abc import Iterable, Sequence

from reports.grid import Block, Column, Grid, Line, Value
from reports.paper import daggers_of
from reports.table.comparison import Comparison, Row, points
from reports.table.layout import Names, distrust, heading_of, measured, numbers
from reports.table.notes import sample, uncertainty
from results.names import CHECKPOINTS, NATURAL, WORST_CASE

_NOTE = "lost: points of the best checkpoint's accuracy that the last one has not (robust overfitting)."


def overfitting(tables: Sequence[Comparison], wanted: Sequence[str], names: Names) -> Grid | None:
    """Best, last and the difference of both for each method; None where no method has both checkpoints.

    ``wanted`` are the attacks, by default natural and worst-case accuracy.
    """
    last = {table.setting: table for table in tables if table.checkpoint == "last"}
    pairs = [(table, last[table.setting]) for table in tables if table.checkpoint == "best" and table.setting in last]
    both = [table for pair in pairs for table in pair]
    attacks = [name for name in wanted or (NATURAL, WORST_CASE) if any(name in table.attacks for table in both)]
    daggers = daggers_of(both)
    blocks = [Block(tuple(_lines(*pair, attacks, names, daggers)), pair[0].setting) for pair in pairs]
    if not attacks or not any(block.lines for block in blocks):
        return None
    return Grid(
        slug="paper_best_last",
        title="Best and last checkpoint",
        columns=tuple(
            Column(f"{heading_of(name)}, {part}", f"{heading_of(name)}\n{part}")
            for name in attacks
            for part in ("best", "last", "lost")
        ),
        blocks=tuple(blocks),
        footnotes={mark: reason for reason, mark in daggers.items()},
        notes=(*sample(both), *uncertainty(both, intervals=False), _NOTE),
    )


def _lines(
    best: Comparison, last: Comparison, attacks: Sequence[str], names: Names, daggers: dict[str, str]
) -> Iterable[Line]:
    after = {row.method: row for row in last.rows}
    for row in best.rows:
        if row.method not in after:
            continue
        rows = (row, after[row.method])
        marks = dict.fromkeys(daggers[distrust(each, named=True)] for each in rows if distrust(each, named=True))
        values: list[Value | None] = []
        record = best.origin | {
            "checkpoint": "best, last",
            "method": row.method,
            "seeds": " ".join(map(str, row.seeds)),
        }
        for name in attacks:
            cells, loss = [each.cells.get(name) for each in rows], _loss(*rows, name)
            values += [measured(cell, intervals=False) if cell else None for cell in cells]
            values.append(None if loss is None else Value(points(loss)))
            for part, cell in zip(CHECKPOINTS, cells, strict=True):
                record |= numbers(f"{name} {part}", cell)
            record[f"{name} lost"] = loss
        yield Line(Value(best.label(row, names), mark=",".join(marks)), tuple(values), record)


def _loss(best: Row, last: Row, attack: str) -> float | None:
    """Best minus last; None unless both are of the same seeds, as many examples and, in the worst case, attacks."""
    before, after = best.cells.get(attack), last.cells.get(attack)
    alike = best.seeds == last.seeds and (attack != WORST_CASE or best.cells.keys() == last.cells.keys())
    if not (before and after and alike and before.examples == after.examples):
        return None
    return before.accuracy - after.accuracy
