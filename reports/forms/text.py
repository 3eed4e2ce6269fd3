"""Tables as Markdown and as CSV."""

import csv
import io
import re
from collections.abc import Iterable

from reports.grid import Grid, Value, one_line
from results.labels import spreadsheet_text

_STYLES = {"": ("", ""), "best": ("**", "**"), "second": ("<u>", "</u>"), "doubtful": ("*", "*")}


def to_markdown(grid: Grid) -> str:
    """A heading, a pipe table (GitHub's Markdown) for each block, footnotes and notes."""
    grid = grid.flat
    header = [escape(text) for text in (grid.first, *(column.heading for column in grid.columns))]
    rule = ["---", *("---" if column.text else "---:" for column in grid.columns)]
    parts = [f"## {escape(grid.title)}"]
    for block in grid.blocks:
        parts += [f"### {escape(block.title)}"] * bool(block.title)
        lines = [map(_value, (line.name, *line.values)) for line in block.lines]
        parts.append("\n".join(map(_pipes, (header, rule, *lines))))
    parts += [f"{_raised(mark)} {escape(text)}" for mark, text in grid.footnotes.items()]
    parts += ["\n".join(map(escape, grid.notes))] * bool(grid.notes)
    return "\n\n".join(parts) + "\n"


def to_csv(grid: Grid) -> str:
    """The record of each line, numbers in full precision, missing ones empty; safe to open in a spreadsheet."""
    names = list(dict.fromkeys(name for line in grid.lines for name in line.record))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(spreadsheet_text, names))
    writer.writerows([spreadsheet_text(line.record.get(name)) for name in names] for line in grid.lines)
    return out.getvalue()


def escape(text: str) -> str:
    """The text as Markdown shows it literally, in a table too."""
    return re.sub(r"([\\`*_|<>\[\]~$]|&(?=[#\w]))", r"\\\1", one_line(text))


def _value(value: Value | None) -> str:
    if value is None:
        return "-"
    before, after = _STYLES[value.style]
    mark = f" {_raised(value.mark)}" if value.mark else ""
    return f"{before}{escape(value.text)}{after} {escape(value.beside)}".rstrip() + mark


def _raised(mark: str) -> str:
    return f"<sup>{mark}</sup>"


def _pipes(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
