"""All reports as files."""

from collections.abc import Callable
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from reports.table import Comparison, comparisons, to_csv, to_latex, to_markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

_TABLES: dict[str, Callable[[Comparison], str]] = {"md": to_markdown, "csv": to_csv, "tex": to_latex}
# No dates or versions: equal results give equal files.
_METADATA: dict[str, dict[str, None]] = {"png": {"Software": None}, "pdf": {"CreationDate": None}}


def write(frame: "DataFrame", history: "DataFrame", out: Path) -> list[Path]:
    """Write every table and figure under ``out`` and return their paths.

    ``table_DATASET_MODEL_THREAT_CHECKPOINT.md``, ``.csv`` and ``.tex`` for each comparison; ``accuracy.png`` and
    ``.pdf``; ``curves.png`` and ``.pdf`` of the trainings in ``frame``, where their history has validation accuracies.
    Readers see a file's old content or its new one, never half of one.

    Raises:
        HarnessError: if the frame is empty or not the long form of the results.
    """
    from reports.plots import accuracy_bars, training_curves

    files: dict[str, bytes] = {}
    for table in comparisons(frame):
        name = _free_name(f"table_{table.slug}", files)
        files |= {f"{name}.{ending}": form(table).encode() for ending, form in _TABLES.items()}
    files |= _pictures("accuracy", accuracy_bars(frame))
    trained = history[history["train_id"].isin(frame["train_id"])]
    if trained["validation_robust"].notna().any():
        files |= _pictures("curves", training_curves(trained))
    out.mkdir(parents=True, exist_ok=True)
    return [_save(out / name, content) for name, content in files.items()]


def _free_name(name: str, taken: dict[str, bytes]) -> str:
    """The name itself, or with a number where two data sets differ only in characters that no file name has."""
    candidates = (name if number == 1 else f"{name}-{number}" for number in count(1))
    return next(candidate for candidate in candidates if f"{candidate}.md" not in taken)


def _pictures(name: str, figure: "Figure") -> dict[str, bytes]:
    from reports.plots import style

    pictures = {}
    for ending, metadata in _METADATA.items():
        content = BytesIO()
        with style():
            figure.savefig(content, format=ending, metadata=metadata)
        pictures[f"{name}.{ending}"] = content.getvalue()
    return pictures


def _save(path: Path, content: bytes) -> Path:
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    return part.replace(path)
