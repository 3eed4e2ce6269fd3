"""Copy the finished jobs of a workspace, small enough to keep or to send: without logs and adversarial images.

``python benchmarks/collect.py WORKSPACE JOBS [--weights best,last]``: JOBS is the folder of job directories, such as
``benchmarks/cifar100-cpu/jobs``; of trainings the weights of the checkpoints named come too. Checksums are looked at
before, and written anew for what is kept: a run that goes on from the copies would otherwise miss the images and do the
attacks again. What is there already stays as it is.
"""

import json
import shutil
from pathlib import Path
from typing import Annotated

import typer

from results.checksums import check, sealed
from results.layout import JobFiles, WorkspaceFiles


def main(workspace: Path, jobs: Path, weights: Annotated[str, typer.Option(help="Which checkpoints.")] = "") -> None:
    """Copy what is finished and not there yet."""
    for result in sorted(WorkspaceFiles(workspace).jobs.glob("*/result.json")):
        job, copy = JobFiles(result.parent), JobFiles(jobs / result.parent.name)
        if copy.result.exists():
            continue
        left = {job.adversarial, *(job.weights(name) for name in {"best", "last"} - set(weights.split(",")))}
        kept = [path for path in job.outcome if path.exists() and path not in left]
        check(job, *kept)
        copy.directory.mkdir(parents=True, exist_ok=True)
        for path in kept:
            shutil.copyfile(path, copy.directory / path.name)
        copy.result.write_text(sealed(json.loads(result.read_text(encoding="utf-8")), copy), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
