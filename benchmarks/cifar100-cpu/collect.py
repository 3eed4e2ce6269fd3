"""Copy the finished jobs of a workspace into ``jobs/`` beside this file, without logs and adversarial images.

``python benchmarks/cifar100-cpu/collect.py [WORKSPACE]``. Checksums are looked at before, and written anew for what is
kept: a run that goes on from the copies would otherwise miss the images and do the attacks again.
"""

import json
import shutil
from pathlib import Path
from typing import Annotated

import typer

from results.checksums import check, sealed
from results.layout import JobFiles, WorkspaceFiles


def main(workspace: Annotated[Path, typer.Argument()] = Path("runs/cifar100-cpu")) -> None:
    """Copy what is finished and not there yet."""
    for result in sorted(WorkspaceFiles(workspace).jobs.glob("*/result.json")):
        job = JobFiles(result.parent)
        copy = JobFiles(Path(__file__).parent / "jobs" / job.id)
        if copy.result.exists():
            continue
        kept = [path for path in job.outcome if path.exists() and path != job.adversarial]
        check(job, *kept)
        copy.directory.mkdir(parents=True, exist_ok=True)
        for path in kept:
            shutil.copyfile(path, copy.directory / path.name)
        copy.result.write_text(sealed(json.loads(result.read_text(encoding="utf-8")), copy), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
