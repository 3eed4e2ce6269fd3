"""All reports as files."""

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from reports.forms import FILES
from reports.grid import Grid
from reports.methods import SETTING, labels
from reports.table import Comparison, comparisons
from results.labels import ball_of, file_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

# No dates or versions: equal results give equal files.
_METADATA: dict[str, dict[str, None]] = {"png": {"Software": None}, "pdf": {"CreationDate": None}}


def write(grids: Sequence[Grid], figures: Mapping[str, bytes], out: Path) -> list[Path]:
    """Write ``table_SLUG.md``, ``.csv``, ``.tex`` and ``.html`` for each grid, and the figures, and return their paths.

    Readers see a file's old content or its new one, never half of one.
    """
    files: dict[str, bytes] = {}
    for grid in grids:
        _add(files, f"table_{grid.slug}", {ending: form(grid).encode() for ending, form in FILES.items()})
    out.mkdir(parents=True, exist_ok=True)
    return [_save(out / name, content) for name, content in {**files, **figures}.items()]


def draw(tables: Sequence[Comparison], frame: "DataFrame", history: "DataFrame") -> dict[str, bytes]:
    """Every figure of these tables and of the rows that they are made of, as ``.png`` and ``.pdf``, by file name.

    ``accuracy_...`` for the best checkpoint of each setting, or the one there is; ``security_DATASET_MODEL_NORM`` where
    there are several radii; ``curves_DATASET_MODEL_THREAT`` of the trainings in ``frame``, where their history has
    validation accuracies.
    """
    from reports.plots import accuracy_bars, security_curve, training_curves

    files: dict[str, bytes] = {}
    for table in _one_each(tables):
        _add(files, f"accuracy_{table.slug}", _pictures(accuracy_bars(table)))
    for ball, members in _over_radii(frame):
        _add(files, f"security_{file_label(*ball)}", _pictures(security_curve(members)))
    trained = history[history["train_id"].isin(frame["train_id"]) & history["validation_robust"].notna()]
    for setting, epochs in trained.groupby(list(SETTING), sort=False):
        _add(files, f"curves_{file_label(*map(str, setting))}", _pictures(training_curves(epochs)))
    return files


def _one_each(tables: Sequence[Comparison]) -> list[Comparison]:
    """Of each setting the first table, which is that of the best checkpoint if there is one."""
    first = {table.setting: table for table in reversed(tables)}
    return [*reversed(first.values())]


def _over_radii(frame: "DataFrame") -> Iterator[tuple[tuple[str, ...], list[Comparison]]]:
    """For each data set, model and norm the tables of those trainings that were attacked at several radii.

    A label stands for the same trainings in all of them.
    """
    norms = frame["threat"].map(lambda threat: ball_of(threat)[0])
    for ball, rows in frame.groupby(["dataset", "model", norms], sort=False):
        own = rows[rows.groupby("train_id")["threat"].transform("nunique") > 1]
        if not own.empty:
            shown = labels(own.to_dict("records"))
            places = zip(own["method"], own["protocol"], strict=True)
            yield tuple(map(str, ball)), _one_each(comparisons(own.assign(method=[shown[each] for each in places])))


def _add(files: dict[str, bytes], name: str, forms: dict[str, bytes]) -> None:
    """One thing in all its forms; with a number where two names differ only in characters that no file name has."""
    candidates = (name if number == 1 else f"{name}-{number}" for number in count(1))
    free = next(each for each in candidates if not any(f"{each}.{ending}" in files for ending in forms))
    files |= {f"{free}.{ending}": content for ending, content in forms.items()}


def _pictures(figure: "Figure") -> dict[str, bytes]:
    """The figure by file name ending."""
    from reports.plots import style

    pictures = {}
    for ending, metadata in _METADATA.items():
        content = BytesIO()
        with style():
            figure.savefig(content, format=ending, metadata=metadata)
        pictures[ending] = content.getvalue()
    return pictures


def _save(path: Path, content: bytes) -> Path:
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    return part.replace(path)
