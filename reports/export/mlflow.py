"""Runs in an MLflow store of its own: ``DIRECTORY/mlflow.db`` (SQLite), an experiment for each data set and model."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reports.export.trainings import Training
from results.errors import optional

_TRAINING, _DIGEST = "harness.training", "harness.digest"


def export(trainings: Sequence[Training], directory: Path) -> int:
    """Write a run for each training, in the place of one with other content: how many were written.

    A run is complete once it bears the tag ``harness.digest``.

    Raises:
        HarnessError: where MLflow is not installed.
    """
    mlflow = optional("mlflow", "mlflow")
    directory.mkdir(parents=True, exist_ok=True)
    database = directory.absolute() / "mlflow.db"
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{database}")
    written = 0
    for training in trainings:
        experiment = _experiment(client, training.group, directory)
        there = client.search_runs([experiment], f"tags.`{_TRAINING}` = '{training.id}'")
        if [run.data.tags.get(_DIGEST) for run in there] != [training.digest]:
            for run in there:
                client.delete_run(run.info.run_id)
            _write(client, experiment, training)
            written += 1
    return written


def _experiment(client: Any, name: str, directory: Path) -> Any:
    found = client.get_experiment_by_name(name)
    place = (directory.absolute() / "artifacts").as_uri()
    return found.experiment_id if found else client.create_experiment(name, artifact_location=place)


def _write(client: Any, experiment: Any, training: Training) -> None:
    entities = optional("mlflow.entities", "mlflow")
    began, ended = round(1000 * training.started), round(1000 * training.epochs[-1].ended)
    tags = {_key(name): text for name, text in training.texts.items()}
    tags[_TRAINING] = training.id
    run = client.create_run(experiment, start_time=began, run_name=training.name, tags=tags).info.run_id
    client.log_batch(run, params=[entities.Param(_key(name), str(value)) for name, value in training.params.items()])
    for epoch in training.epochs:
        at = round(1000 * epoch.ended), epoch.number
        client.log_batch(run, [entities.Metric(_key(name), value, *at) for name, value in epoch.values.items()])
    at = ended, training.epochs[-1].number
    client.log_batch(run, [entities.Metric(_key(name), value, *at) for name, value in training.metrics.items()])
    client.set_terminated(run, end_time=ended)
    client.set_tag(run, _DIGEST, training.digest)


def _key(name: str) -> str:
    """A name of the characters that MLflow allows."""
    return re.sub(r"[^\w.\-/ ]", "-", name)
