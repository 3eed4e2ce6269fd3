"""Event files for TensorBoard, made of its own records."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reports.export.trainings import Training
from results.errors import optional
from results.labels import file_label

_EVENTS = "events.out.tfevents."


def export(trainings: Sequence[Training], directory: Path) -> int:
    """Write one event file for each training, in the place of one with other content: how many were written.

    It is ``DIRECTORY/GROUP/TRAINING/events.out.tfevents.0.DIGEST``.

    Raises:
        HarnessError: where TensorBoard is not installed.
    """
    records = optional("tensorboard.summary.writer.record_writer", "tensorboard")
    written = 0
    for training in trainings:
        folder = directory / file_label(training.group) / file_label(training.name, training.id)
        path, there = folder / f"{_EVENTS}0.{training.digest}", list(folder.glob(f"{_EVENTS}*"))
        if there != [path]:
            folder.mkdir(parents=True, exist_ok=True)
            part = folder / "part"
            with part.open("wb") as file:
                for event in _events(training):
                    records.RecordWriter(file).write(event.SerializeToString())
            for old in there:
                old.unlink()
            part.replace(path)
            written += 1
    return written


def _events(training: Training) -> Iterator[Any]:
    """The settings as TensorBoard's hyperparameters, the series, and at the last epoch's end what was measured."""
    event = optional("tensorboard.compat.proto.event_pb2", "tensorboard").Event
    hparams = optional("tensorboard.plugins.hparams.summary_v2", "tensorboard")
    texts = optional("tensorboard.plugins.text.summary_v2", "tensorboard")
    last = training.epochs[-1]
    yield event(wall_time=training.started, file_version="brain.Event:2")
    settings = hparams.hparams_pb(dict(training.params), trial_id=training.id, start_time_secs=training.started)
    yield event(wall_time=training.started, summary=settings)
    for epoch in training.epochs:
        yield event(wall_time=epoch.ended, step=epoch.number, summary=_scalars(epoch.values))
    yield event(wall_time=last.ended, step=last.number, summary=_scalars(training.metrics))
    for tag, text in training.texts.items():
        yield event(wall_time=last.ended, step=last.number, summary=texts.text_pb(tag, text))


def _scalars(values: Mapping[str, float]) -> Any:
    summary = optional("tensorboard.compat.proto.summary_pb2", "tensorboard").Summary
    return summary(value=[summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
