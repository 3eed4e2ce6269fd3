"""The comparison table as Markdown and as CSV."""

import csv
import io
import re

from reports.table.comparison import Cell, Comparison, Row, percent, points


def to_markdown(comparison: Comparison) -> str:
    """A heading, a pipe table (GitHub's Markdown) with 95 % intervals in brackets, footnotes and notes."""
    attacks, differences = comparison.attacks, comparison.differences
    numbers = [*attacks, *differences, *["rank"] * comparison.ranked]
    lines = [_pipes(["method", *numbers, "verdict"]), _pipes(["---", *["---:"] * len(numbers), "---"])]
    for row in comparison.rows:
        number = comparison.mark(row)
        lines.append(
            _pipes(
                [
                    _escape(comparison.label(row)),
                    *(_cell(row.cells.get(attack)) for attack in attacks),
                    *(_difference(row, name) for name in differences),
                    *[str(row.rank or "-")] * comparison.ranked,
                    row.verdict + (f" <sup>{number}</sup>" if number else ""),
                ]
            )
        )
    footnotes = [f"<sup>{number}</sup> {_escape(why)}" for number, why in enumerate(comparison.reasons, start=1)]
    paragraphs = [f"## {_escape(comparison.title)}", "\n".join(lines), *footnotes, "\n".join(comparison.notes)]
    return "\n\n".join(paragraphs) + "\n"


def to_csv(comparison: Comparison) -> str:
    """One line for each method, all numbers as fractions in full precision, missing ones empty.

    For each attack: its accuracy under its name, then ``low``, ``high``, ``std`` and ``examples``. ``low`` to ``high``
    is a 95 % interval: Wilson's over the examples for one seed, Student's of the mean (cut to [0, 1]) for several,
    whose sample standard deviation is ``std``. ``rank`` is by worst case, ties are equal; ``best`` names the attacks
    under which the method is best.
    """
    header = ["method", "seeds", "verdict", "why"]
    for attack in comparison.attacks:
        header += [attack, *(f"{attack} {column}" for column in ("low", "high", "std", "examples"))]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*header, *comparison.differences, "rank", "best"])
    for row in comparison.rows:
        values: list[object] = [row.method, " ".join(map(str, row.seeds)), row.verdict, row.why]
        for attack in comparison.attacks:
            cell = row.cells.get(attack)
            values += [cell.accuracy, cell.low, cell.high, cell.std, cell.examples] if cell else [None] * 5
        best = [attack for attack in comparison.attacks if attack in row.cells and row.cells[attack].best]
        values += [row.differences.get(name) for name in comparison.differences]
        writer.writerow([*values, row.rank, " ".join(best)])
    return out.getvalue()


def _pipes(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    mark = "**" if cell.best else "*" if cell.inflated else ""
    value = f"{mark}{percent(cell.accuracy)}{mark}"
    if cell.std is not None:
        return f"{value} ± {percent(cell.std)}"
    interval = cell.interval(2)
    return f"{value} [{', '.join(interval)}]" if interval else value


def _difference(row: Row, name: str) -> str:
    return points(row.differences[name]) if name in row.differences else "-"


def _escape(text: str) -> str:
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", text)
