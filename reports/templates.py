"""Texts that are no HTML, from the templates of a package."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from reports.forms.text import escape


def templates(package: str) -> Environment:
    """For Markdown, Python, YAML and plain text: names from outside go through a filter, such as ``markdown``."""
    environment = Environment(
        loader=PackageLoader(package, ""),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        autoescape=False,
    )
    environment.filters["markdown"] = escape
    return environment
