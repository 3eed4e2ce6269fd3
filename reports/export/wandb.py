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
    wandb = optional("wandb", "wandb")
    directory.mkdir(parents=True, exist_ok=True)
    written = {}
    for training in trainings:
        there = list(directory.glob(f"wandb/offline-run-*-{training.id}"))
        if [_digest(run) for run in there] != [training.digest]:
            for run in there:
                shutil.rmtree(run)
            written[_write(training, directory)] = training.digest
    wandb.teardown()  # a process of its own writes the files, and goes on after a run has finished
    for run, digest in written.items():
        (run / _DIGEST).write_text(digest, encoding="utf-8")
    return len(written)


def _digest(run: Path) -> str:
    file = run / _DIGEST
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _write(training: Training, directory: Path) -> Path:
    """The folder of the run."""
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
    run.finish()
    return Path(run.dir).parent
