"""One training as every tracker takes it: its settings, its epochs, and what its checkpoints were measured to hold."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from reports.table.build import scores_of
from results.labels import file_label

if TYPE_CHECKING:
    from pandas import DataFrame

_SERIES = ("lr", "loss", "validation_natural", "validation_robust", "images_per_second", "peak_memory")
_TERM = "term:"


@dataclass(frozen=True)
class Epoch:
    """The epoch's number from 1, when it ended (seconds since 1970), and what was measured in it, by name."""

    number: int
    ended: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Training:
    """What a tracker keeps of one training, under its ``id``.

    ``metrics`` are ``best_epoch`` and, by ``CHECKPOINT/THREAT/ATTACK``, accuracies as fractions; ``texts`` the verdict
    on each ``CHECKPOINT/THREAT``, and why. Values of ``params`` are numbers, truth values and text.
    """

    id: str
    name: str
    group: str
    started: float
    params: Mapping[str, str | float | bool]
    epochs: tuple[Epoch, ...]
    metrics: Mapping[str, float]
    texts: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Equal for trainings with equal content: what was exported before need not be again."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def trainings(frame: "DataFrame", history: "DataFrame") -> list[Training]:
    """Every training of ``history``, with what ``frame``, the long form, holds of its checkpoints."""
    measured = dict(list(frame.groupby("train_id")))
    return [
        _training(epochs.to_dict("records"), measured.get(name, frame[:0]))
        for name, epochs in history.groupby("train_id", sort=False)
    ]


def _training(history: Sequence[Mapping[Any, Any]], frame: "DataFrame") -> Training:
    metrics: dict[str, float] = {}
    texts: dict[str, str] = {}
    for threat, rows in frame.groupby("threat"):
        for (_, checkpoint), scores in scores_of(rows.to_dict("records")).items():
            place = f"{checkpoint}/{file_label(str(threat))}"
            metrics |= {f"{place}/{attack}": row["accuracy"] for attack, row in scores.items()}
            row = next(iter(scores.values()))
            texts |= {f"{place}/verdict": row["verdict"], f"{place}/why": row["why"]}
    first = history[0]
    settings = {"method": first["method"], "seed": first["seed"], **json.loads(first["params"])}
    started = datetime.fromisoformat(first["started"]).timestamp() if _known(first["started"]) else 0.0
    return Training(
        id=first["train_id"],
        name=f"{first['method']}, seed {first['seed']}",
        group=f"{first['dataset']}, {first['model']}",
        started=started,
        params={name: _plain(value) for name, value in settings.items()},
        epochs=tuple(_epochs(history, started)),
        metrics={"best_epoch": first["best_epoch"], **metrics},
        texts={name: text for name, text in texts.items() if text},
    )


def _epochs(history: Sequence[Mapping[Any, Any]], started: float) -> Iterator[Epoch]:
    names = {name: name for name in _SERIES} | {
        name: f"terms/{name.removeprefix(_TERM)}" for name in history[0] if name.startswith(_TERM)
    }
    seconds = (row["seconds"] if _known(row["seconds"]) else 0.0 for row in history)
    for row, so_far in zip(history, accumulate(seconds), strict=True):
        values = {shown: float(row[name]) for name, shown in names.items() if _known(row[name])}
        yield Epoch(row["epoch"], started + so_far, values)


def _known(value: object) -> bool:
    """Whether a cell of a data frame holds something: neither None nor NaN."""
    return value is not None and value == value


def _plain(value: object) -> str | float | bool:
    return value if isinstance(value, str | int | float) else json.dumps(value)
