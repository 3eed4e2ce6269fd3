"""Offline runs for Weights & Biases: ``wandb sync DIRECTORY/wandb/offline-run-*`` uploads them, which is the user's."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from reports.export.trainings import Training
from results.errors import optional

_DIGEST = "harness-digest.txt"
_PROJECT = "robustness-harness"


def export(trainings: Sequence[Training], directory: Path) -> int:
    """Write an offline run for each training, in the place of one with other content: how many were written.

    A run is complete once ``harness-digest.txt`` is in its folder.

    Raises:
        HarnessError: where W&B is not installed.
    """
    optional("wandb", "wandb")
    directory.mkdir(parents=True, exist_ok=True)
    written = 0
    for training in trainings:
        there = list(directory.glob(f"wandb/offline-run-*-{training.id}"))
        if [_digest(run) for run in there] != [training.digest]:
            for run in there:
                shutil.rmtree(run)
            _write(training, directory)
            written += 1
    return written


def _digest(run: Path) -> str:
    file = run / _DIGEST
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _write(training: Training, directory: Path) -> None:
    wandb = optional("wandb", "wandb")
    alone = wandb.Settings(silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True)
    run = wandb.init(
        mode="offline",
        dir=directory,
        project=_PROJECT,
        id=training.id,
        name=training.name,
        group=training.group,
        config=dict(training.params),
        settings=alone,
    )
    for epoch in training.epochs:
        run.log(dict(epoch.values), step=epoch.number)
    run.summary.update({**training.metrics, **training.texts})
    place = Path(run.dir).parent
    run.finish()
    (place / _DIGEST).write_text(training.digest, encoding="utf-8")
