"""The forms in which a grid is written. Each has one function that escapes what others named, and nothing else does."""

from collections.abc import Callable

from reports.forms.hypertext import to_html
from reports.forms.latex import to_latex
from reports.forms.terminal import to_terminal
from reports.forms.text import to_csv, to_markdown
from reports.grid import Grid

FILES: dict[str, Callable[[Grid], str]] = {"md": to_markdown, "csv": to_csv, "tex": to_latex, "html": to_html}

__all__ = ["FILES", "to_csv", "to_html", "to_latex", "to_markdown", "to_terminal"]
