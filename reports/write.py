"""Reports as files."""

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

from reports.forms import FILES
from reports.grid import Grid


def write(grids: Sequence[Grid], figures: Mapping[str, bytes], out: Path) -> list[Path]:
    """Write ``table_SLUG.md``, ``.csv``, ``.tex`` and ``.html`` for each grid, and the figures, and return their paths.

    Readers see a file's old content or its new one, never half of one.
    """
    files: dict[str, bytes] = {}
    for grid in grids:
        add(files, f"table_{grid.slug}", {ending: form(grid).encode() for ending, form in FILES.items()})
    out.mkdir(parents=True, exist_ok=True)
    return [_save(out / name, content) for name, content in {**files, **figures}.items()]


def add(files: dict[str, bytes], name: str, forms: dict[str, bytes]) -> None:
    """One thing in all its forms; with a number where two names differ only in characters that no file name has."""
    candidates = (name if number == 1 else f"{name}-{number}" for number in count(1))
    free = next(each for each in candidates if not any(f"{each}.{ending}" in files for ending in forms))
    files |= {f"{free}.{ending}": content for ending, content in forms.items()}


def _save(path: Path, content: bytes) -> Path:
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    return part.replace(path)
