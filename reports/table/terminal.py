"""The comparison table for a terminal, readable from 80 columns on."""

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reports.table.comparison import OVERESTIMATION, OVERFITTING, Cell, Comparison, Row, percent, points

_VERDICT_STYLES = {"trusted": "green", "suspect": "yellow", "masked": "red"}
_HEADERS = {
    "autoattack": "auto\nattack",
    "adaptive": "adap-\ntive",
    "worst-case": "worst\ncase",
    OVERESTIMATION: "AA -\nworst",
    OVERFITTING: "best -\nlast",
}
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_GAP = 1


@dataclass(frozen=True)
class _Column:
    header: Text
    cells: list[Text]

    @property
    def width(self) -> int:
        lines = [line for text in (self.header, *self.cells) for line in text.split("\n")]
        return max(line.cell_len for line in lines)


@dataclass(frozen=True)
class TerminalTable:
    """Fits the width it is given: first with coarser intervals, then by going on in a second block."""

    comparison: Comparison

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        names, width = self._names(), options.max_width
        for decimals in (1, 0):
            columns = self._columns(decimals)
            if names.width + sum(column.width + _GAP for column in columns) <= width:
                break
        yield Text(self.comparison.title, style="bold")
        for block in _blocks(columns, width - names.width):
            yield Padding(_table([names, *block]), (1, 0))
        for number, reason in enumerate(self.comparison.reasons, start=1):
            yield Text(f"{_superscript(str(number))} {reason}")
        for note in self.comparison.notes:
            yield Text(note, style="dim")

    def _names(self) -> _Column:
        table = self.comparison
        return _Column(Text("method\nverdict"), [_name(table, row) for row in table.rows])

    def _columns(self, decimals: int) -> list[_Column]:
        rows = self.comparison.rows
        attacks = [
            _Column(Text(_HEADERS.get(attack, attack)), [_cell(row.cells.get(attack), decimals) for row in rows])
            for attack in self.comparison.attacks
        ]
        differences = [
            _Column(Text(_HEADERS[name]), [_difference(row, name) for row in rows])
            for name in self.comparison.differences
        ]
        ranks = [_Column(Text("rank"), [Text(f"{row.rank or '-'}\n") for row in rows])] * self.comparison.ranked
        return attacks + differences + ranks


def to_terminal(comparison: Comparison) -> TerminalTable:
    """A rich renderable: each method takes two lines, its verdict under its name and intervals under accuracies."""
    return TerminalTable(comparison)


def _table(columns: list[_Column]) -> Table:
    table = Table(box=None, padding=(0, 0, 0, _GAP), pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column.header, justify="right" if index else "left", vertical="bottom", no_wrap=True)
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*cells)
    return table


def _blocks(columns: list[_Column], width: int) -> list[list[_Column]]:
    blocks: list[list[_Column]] = [[]]
    for column in columns:
        if blocks[-1] and sum(each.width + _GAP for each in (*blocks[-1], column)) > width:
            blocks.append([])
        blocks[-1].append(column)
    return blocks


def _name(table: Comparison, row: Row) -> Text:
    verdict = Text(row.verdict + _superscript(table.mark(row)), style=_VERDICT_STYLES.get(row.verdict, ""))
    return Text.assemble(table.label(row), "\n", verdict)


def _cell(cell: Cell | None, decimals: int) -> Text:
    if cell is None:
        return Text("-\n")
    style = "bold" if cell.best else "italic dim" if cell.inflated else ""
    return Text.assemble((percent(cell.accuracy), style), "\n", (_spread(cell, decimals), "dim"))


def _spread(cell: Cell, decimals: int) -> str:
    return f"±{percent(cell.std)}" if cell.std is not None else "–".join(cell.interval(decimals) or ())


def _difference(row: Row, name: str) -> Text:
    return Text(f"{points(row.differences[name])}\n" if name in row.differences else "-\n")


def _superscript(number: str) -> str:
    return number.translate(_SUPERSCRIPT)
