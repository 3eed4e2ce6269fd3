"""What the site has beside the pages here: the commands, made from the code, and documents of the repository."""

import html
import re
import subprocess
import sys
from pathlib import Path

import griffe
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    Path("CONTRIBUTING.md"),
    Path("CHANGELOG.md"),
    *(Path("benchmarks") / f"{name}.md" for name in ("README", "RESULTS", "NOTES")),
]


def on_files(files, config):
    """Add the pages that no file here holds."""
    pages = {"commands.md": commands()} | {str(path): (ROOT / path).read_text(encoding="utf-8") for path in DOCUMENTS}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links between ``docs/`` and the rest of the repository as both lie in the site; comments left out."""
    if Path(page.file.src_uri) in DOCUMENTS:
        markdown = re.sub(r"\]\(((?:\.\./)?)docs/", r"](\1", markdown)
    else:
        markdown = markdown.replace("](../", "](")
    return re.sub(r"<!--.*?-->\n?", "", markdown)


def commands():
    """Every command with its options and its example, as Typer documents them."""
    command = [
        sys.executable,
        "-m",
        "typer",
        "harness.cli",
        "utils",
        "docs",
        "--name",
        "harness",
        "--title",
        "Commands",
    ]
    text = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    text = re.sub(r"\*\*Commands\*\*:\n\n(\* .*\n)+", "", text)  # a list with its texts cut short
    return re.sub(r"^Example: (.*)$", lambda line: f"```console\n$ {html.unescape(line[1])}\n```", text, flags=re.M)


class Roles(griffe.Extension):
    """Sphinx's roles in docstrings as code."""

    def on_object(self, *, obj, **_):
        """Rewrite the docstring before it is parsed."""
        if obj.docstring:
            obj.docstring.value = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", obj.docstring.value)
