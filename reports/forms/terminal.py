"""Tables for a terminal, readable from 80 columns on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reports.grid import Grid, Line, Value, groups, one_line, shortened

_VERDICTS = {"trusted": "green", "suspect": "yellow", "masked": "red"}
_STYLES = {"": "", "best": "bold", "second": "underline", "doubtful": "italic dim"}
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_GAP = 1
_MOST = 40  # lines of a block: a terminal is no place for a thousand


@dataclass(frozen=True)
class _Column:
    header: Text
    cells: Sequence[Text]
    left: bool

    @cached_property
    def width(self) -> int:
        return max(cell_len(line) for text in (self.header, *self.cells) for line in text.plain.split("\n"))


@dataclass(frozen=True)
class TerminalTable:
    """Fits the width it is given: first with coarser intervals, then by going on in a second group of columns."""

    grid: Grid

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        grid = self.grid if self.grid.stacked else self.grid.flat
        yield Text(one_line(grid.title), style="bold")
        for columns in _fitting(grid, options.max_width):
            start = 0
            for block in grid.blocks:
                end = start + len(block.lines)
                if block.title:
                    yield Padding(Text(one_line(block.title), style="italic"), (1, 0, 0, 0))
                yield Padding(_table(columns, start, end), (int(not block.title), 0, 1, 0))
                start = end
        for mark, text in grid.footnotes.items():
            yield Text(f"{_superscript(mark)} {one_line(text)}")
        for note in grid.notes:
            yield Text(one_line(note), style="dim")


def to_terminal(grid: Grid) -> TerminalTable:
    """A rich renderable; in a stacked grid each line takes two rows. Of many lines it shows a part, and says so."""
    return TerminalTable(shortened(grid, _MOST))


def _fitting(grid: Grid, width: int) -> list[list[_Column]]:
    """The columns in groups that fit the width, each behind the names."""
    heading = f"{grid.first}\nverdict" if grid.stacked else grid.first
    names = _Column(Text(heading), [_name(grid, line) for line in grid.lines], left=True)
    for coarseness in (0, 1):
        columns = [_column(grid, place, coarseness) for place in range(len(grid.columns))]
        widths = [column.width + _GAP for column in columns]
        if names.width + sum(widths) <= width:
            break
    return [[names, *(columns[place] for place in places)] for places in groups(widths, width - names.width)]


def _column(grid: Grid, place: int, coarseness: int) -> _Column:
    column = grid.columns[place]
    header = "\n".join(map(one_line, (column.narrow or column.heading).split("\n")))
    return _Column(Text(header), [_cell(grid, line.values[place], coarseness) for line in grid.lines], column.text)


def _table(columns: Sequence[_Column], start: int, end: int) -> Table:
    table = Table(box=None, padding=(0, 0, 0, _GAP), pad_edge=False)
    for column in columns:
        justify: Literal["left", "right"] = "left" if column.left else "right"
        width = column.width
        table.add_column(column.header, justify=justify, vertical="bottom", no_wrap=True, min_width=width)
    for cells in zip(*(column.cells[start:end] for column in columns), strict=True):
        table.add_row(*cells)
    return table


def _name(grid: Grid, line: Line) -> Text:
    name = _value(line.name)
    if not grid.stacked:
        return name
    return Text.assemble(name, "\n", _value(line.verdict) if line.verdict else "")


def _cell(grid: Grid, value: Value | None, coarseness: int) -> Text:
    if value is None:
        return Text("-\n" if grid.stacked else "-")
    if grid.stacked:
        below = value.below[min(coarseness, len(value.below) - 1)] if value.below else ""
        return Text.assemble(_value(value), "\n", (one_line(below), "dim"))
    return Text.assemble(_value(value), (f" {one_line(value.beside)}" if value.beside else "", "dim"))


def _value(value: Value) -> Text:
    style = _STYLES[value.style] or _VERDICTS.get(value.text, "")
    return Text.assemble((one_line(value.text), style), _superscript(value.mark))


def _superscript(mark: str) -> str:
    return mark.translate(_SUPERSCRIPT)
