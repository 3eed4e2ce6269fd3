"""A table as it is read, before it is written in any form: every report that is a table is a :class:`Grid`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from results.names import WORST_CASE

Style = Literal["", "best", "second", "doubtful"]


@dataclass(frozen=True)
class Value:
    """One cell: a text, how it stands out, how sure it is, and the mark of its footnote.

    What says how sure it is stands ``beside`` the text on one line, or ``below`` it where the grid is stacked: the
    finest first, then coarser ones for narrow places.
    """

    text: str
    style: Style = ""
    beside: str = ""
    below: tuple[str, ...] = ()
    mark: str = ""


@dataclass(frozen=True)
class Line:
    """One row: its name, its cells (None where there is nothing), and the ``record`` that it is in a CSV file."""

    name: Value
    values: tuple[Value | None, ...]
    record: Mapping[str, object]
    verdict: Value | None = None


@dataclass(frozen=True)
class Block:
    """Lines that belong together, under a title if there is one."""

    lines: tuple[Line, ...]
    title: str = ""


@dataclass(frozen=True)
class Column:
    """A column: its heading, the same on two lines for narrow places; texts stand to the left, numbers to the right."""

    heading: str
    narrow: str = ""
    text: bool = False


@dataclass(frozen=True)
class Grid:
    """A table: lines by columns in blocks, with footnotes by their marks and notes on all of it.

    ``slug`` names its files. Where it is ``stacked``, a terminal and LaTeX give every line two rows, the verdict under
    the name and the uncertainty under the value; other forms write them side by side.
    """

    slug: str
    title: str
    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    first: str = "method"
    footnotes: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    stacked: bool = False

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """The lines of all blocks."""
        return tuple(line for block in self.blocks for line in block.lines)

    @cached_property
    def flat(self) -> "Grid":
        """The same on single rows: the verdicts, if there are any, are the last column."""
        if not any(line.verdict for line in self.lines):
            return replace(self, stacked=False)

        def flatten(block: Block) -> Block:
            lines = (replace(line, values=(*line.values, line.verdict), verdict=None) for line in block.lines)
            return replace(block, lines=tuple(lines))

        columns = (*self.columns, Column("verdict", text=True))
        return replace(self, columns=columns, blocks=tuple(map(flatten, self.blocks)), stacked=False)


def shortened(grid: Grid, most: int) -> Grid:
    """At most so many lines of each block, in their order: the best by worst case, the first where none is known.

    Footnotes are those of the lines that are left; a note says how many there are.
    """
    if all(len(block.lines) <= most for block in grid.blocks):
        return grid
    blocks = tuple(replace(block, lines=_best(block.lines, most)) for block in grid.blocks)
    values = [each for block in blocks for line in block.lines for each in (line.name, line.verdict, *line.values)]
    marks = {mark for each in values if each for mark in each.mark.split(",")}
    shown = f"Shown: {sum(len(block.lines) for block in blocks)} of {len(grid.lines):,} rows, the best by worst case."
    return replace(
        grid,
        blocks=blocks,
        footnotes={mark: text for mark, text in grid.footnotes.items() if mark in marks},
        notes=(f"{shown} The files have all.", *grid.notes),
    )


def _best(lines: Sequence[Line], most: int) -> tuple[Line, ...]:
    def badness(place: int) -> float:
        accuracy = lines[place].record.get(WORST_CASE)
        return -accuracy if isinstance(accuracy, float) else 0.0

    return tuple(lines[place] for place in sorted(sorted(range(len(lines)), key=badness)[:most]))


def one_line(text: str) -> str:
    """The text without line breaks and what else does not print, a space in the place of each."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(text.split())


def groups(widths: Sequence[float], room: float) -> list[list[int]]:
    """The places of columns of these widths, in groups that fit the room; one that does not is alone."""
    found: list[list[int]] = [[]]
    for place, width in enumerate(widths):
        if found[-1] and sum(widths[each] for each in found[-1]) + width > room:
            found.append([])
        found[-1].append(place)
    return found
