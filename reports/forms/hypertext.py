"""Tables as HTML: a page of its own that needs nothing else, and whose table can be copied into another."""

from collections.abc import Iterable, Sequence
from html import escape as escape_html

from reports.grid import Column, Grid, Value, one_line

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font-family: sans-serif; margin: 2em; }}
table {{ border-collapse: collapse; border-top: 2px solid; border-bottom: 2px solid; }}
caption {{ font-weight: bold; padding: 0.5em; text-align: left; }}
th, td {{ padding: 0.2em 0.7em; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }}
th.text, td.text {{ text-align: left; }}
thead, tbody {{ border-bottom: 1px solid; }}
tbody th {{ font-weight: normal; }}
tbody th.block {{ font-style: italic; }}
small {{ color: #555; }}
p {{ font-size: 0.85em; margin: 0.3em 0; max-width: 60em; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""
_STYLES = {"": "{}", "best": "<b>{}</b>", "second": "<u>{}</u>", "doubtful": "<i>{}</i>"}


def to_html(grid: Grid) -> str:
    """A page with the table, a ``tbody`` for each block, then footnotes and notes; uncertainty beside the values."""
    grid = grid.flat
    columns, title = [Column(grid.first, text=True), *grid.columns], escape(grid.title)
    headings = _row("th", columns, [escape(column.heading) for column in columns])
    lines = ["<table>", f"<caption>{title}</caption>", f"<thead>{headings}</thead>"]
    for block in grid.blocks:
        lines.append("<tbody>")
        if block.title:
            spanned = f'class="text block" colspan="{len(columns)}" scope="rowgroup"'
            lines.append(f"<tr><th {spanned}>{escape(block.title)}</th></tr>")
        lines += [_row("td", columns, map(_value, (line.name, *line.values))) for line in block.lines]
        lines.append("</tbody>")
    lines.append("</table>")
    lines += [f"<p>{_raised(mark)} {escape(text)}</p>" for mark, text in grid.footnotes.items()]
    lines += [f"<p>{escape(note)}</p>" for note in grid.notes]
    return _PAGE.format(title=title, body="\n".join(lines))


def escape(text: str) -> str:
    """The text as HTML shows it literally."""
    return escape_html(one_line(text))


def _row(tag: str, columns: Sequence[Column], cells: Iterable[str]) -> str:
    opened = {False: f"<{tag}>", True: f'<{tag} class="text">'}
    pairs = zip(columns, cells, strict=True)
    return f"<tr>{''.join(f'{opened[column.text]}{cell}</{tag}>' for column, cell in pairs)}</tr>"


def _value(value: Value | None) -> str:
    if value is None:
        return "–"
    text = _STYLES[value.style].format(escape(value.text))
    beside = f" <small>{escape(value.beside)}</small>" if value.beside else ""
    return text + beside + (_raised(value.mark) if value.mark else "")


def _raised(mark: str) -> str:
    return f"<sup>{escape(mark)}</sup>"
