"""The tables of a paper: one block for each data set, model and threat, one line for each method."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from reports.grid import Block, Column, Grid
from reports.table.comparison import Comparison
from reports.table.layout import Names, columns_of, distrust, heading_of, line, numbered
from reports.table.marks import supported
from reports.table.notes import notes
from results.names import NATURAL, WORST_CASE

COLUMNS = (NATURAL, "fgsm", "pgd-20", "cw", "autoattack", WORST_CASE)
_ABLATIONS = {"-anc": "+ ANC", "-ra": "+ RA", "-ancra": "+ ANCRA"}

Part = tuple[str, Comparison, Names]  # a block's title, its table, and how its methods are called


def accuracy(tables: Sequence[Comparison], wanted: Sequence[str], names: Names) -> Grid:
    """Methods by attacks; a method that is not trusted has a dagger with its footnote.

    Bold and underlined are what :func:`reports.table.marks.supported` marks within a block. ``wanted`` are the columns
    in their order, by default those of ``COLUMNS`` that there are.
    """
    return _grid("accuracy", "Accuracy under attack", [(table.setting, table, names) for table in tables], wanted)


def ablation(tables: Sequence[Comparison], wanted: Sequence[str], names: Names) -> Grid | None:
    """The methods of which half of ANCRA was tried alone, each in a block with its variants; None without any."""
    parts = [part for table in tables for part in _families(table, names)]
    return _grid("ablation", "Ablation of ANCRA", parts, wanted) if parts else None


def _families(table: Comparison, names: Names) -> Iterable[Part]:
    there = {row.name for row in table.rows}
    for base in dict.fromkeys(row.name for row in table.rows):
        if there & {f"{base}-anc", f"{base}-ra"}:
            family = {base: names.get(base, base)} | {base + suffix: label for suffix, label in _ABLATIONS.items()}
            rows = tuple(row for name in family for row in table.rows if row.name == name)
            yield f"{table.setting}: {family[base]}", replace(table, rows=rows), family


def _grid(slug: str, title: str, parts: Sequence[Part], wanted: Sequence[str]) -> Grid:
    tables = [table for _, table, _ in parts]
    columns, daggers = columns_of(tables, wanted or COLUMNS), daggers_of(tables)
    blocks = []
    for heading, table, names in parts:
        marks, lines = supported(table, columns), []
        for row in table.rows:
            plain = line(table, row, columns, marks, names, intervals=False)
            name = replace(plain.name, mark=daggers.get(distrust(row, named=True), ""))
            lines.append(replace(plain, name=name, record={**table.origin, **plain.record}))
        blocks.append(Block(tuple(lines), heading))
    return Grid(
        slug=f"paper_{slug}",
        title=title,
        columns=tuple(Column(heading_of(name)) for name in columns),
        blocks=tuple(blocks),
        footnotes={mark: reason for reason, mark in daggers.items()},
        notes=notes(tables, columns, intervals=False),
    )


def daggers_of(tables: Iterable[Comparison]) -> dict[str, str]:
    """The dagger of each verdict that is not ``trusted`` with its reasons, numbered where there are several."""
    return numbered((distrust(row, named=True) for table in tables for row in table.rows), "†")
