"""Time at scale: many jobs on an executor that does nothing, then every command that reads their results.

``python benchmarks/scale.py build WORKSPACE --models 1040`` plans and records every job of so many trainings, each with
both checkpoints under eight attacks, and draws their outcomes in place of doing them: 13 methods on 4 data sets and 4
models, and as many seeds as it takes; with ``--one-table`` one method in so many protocols. ``read WORKSPACE`` times
the commands in seconds of processor time, each in a process of its own on one thread.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from zlib import crc32

import numpy as np
import typer
from rich.console import Console

from harness.api.data import Data, Split
from harness.api.specs import DiagnoseSpec, EvaluateSpec, TrainSpec, parse_spec
from harness.plan.graph import Request, plan
from harness.plugins import load_plugins
from harness.run.progress import Lines
from harness.run.scheduler import Scheduler
from harness.run.workspace import Workspace
from results.checksums import sealed
from results.layout import JobFiles
from results.store import Store

app = typer.Typer()
DATASETS = ("cifar10", "cifar100", "svhn", "tiny-imagenet")
MODELS = ("resnet18", "preactresnet18", "wrn-28-10", "wrn-34-10")
# The share of examples that stand under each attack, of a method that is not masked.
STANDING = {
    "natural": 0.9,
    "fgsm": 0.64,
    "pgd-20": 0.58,
    "pgd-100": 0.57,
    "cw": 0.55,
    "autoattack": 0.51,
    "autoattack-fast": 0.52,
    "adaptive": 0.51,
}
EXAMPLES = 200
READ = (
    "status",
    "results --csv",
    "report",
    "report --style compact",
    "report --style paper",
    "report --claims",
    "report --page",
)
_EPOCH_ZERO = datetime(2026, 1, 1, tzinfo=UTC)


class Drawn(Executor):
    """Writes what a worker might have left of a job, at once; the outcome depends on the job's id alone."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def submit(  # type: ignore[override]
        self, _call: Callable[..., None], job_id: str, workspace: Workspace, *, shards: Sequence[str]
    ) -> Future[None]:
        """The job is done."""
        start = time.process_time()
        files, random = workspace.job(job_id), np.random.default_rng(crc32(job_id.encode()))
        spec = parse_spec(files.spec.read_text())
        about = _trained if isinstance(spec, TrainSpec) else _attacked if isinstance(spec, EvaluateSpec) else _judged
        result = about(spec, files, random)
        started = _EPOCH_ZERO + timedelta(seconds=int(random.integers(10**7)))
        result |= {"id": job_id, "kind": spec.kind, "started": started.isoformat(), "seconds": random.uniform(10, 99)}
        result |= {"finished": started.isoformat(), "device": "none", "versions": {"torch": "none"}, "code": None}
        files.result.write_text(sealed(result, files))
        done: Future[None] = Future()
        done.set_result(None)
        self.seconds += time.process_time() - start
        return done


def _trained(spec: TrainSpec, files: JobFiles, random: np.random.Generator) -> dict[str, object]:
    epochs, robust = spec.protocol.epochs, random.uniform(0.4, 0.6)
    lines = (
        {
            "epoch": epoch,
            "lr": spec.protocol.lr,
            "loss": 2.0 - epoch / epochs,
            "terms": {"natural": 0.5, "robust": 1.5},
            "validation_natural": 0.5 + 0.4 * epoch / epochs,
            "validation_robust": robust + random.uniform(-0.02, 0.02),
            "images_per_second": 1000.0,
            "peak_memory": 2**32,
            "seconds": 60.0,
        }
        for epoch in range(1, epochs + 1)
    )
    files.history.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    best = int(random.integers(1, epochs + 1))
    about = {"images_per_second": 1000.0, "peak_memory": 2**32, "parameters": 10**7}
    return {"best_epoch": best, "epochs": epochs, **about}


def _attacked(spec: EvaluateSpec, files: JobFiles, random: np.random.Generator) -> dict[str, object]:
    """What is hard for a model is hard under every attack; masked models stand under all but one."""
    hard = np.random.default_rng(crc32(f"{spec.train_id} {spec.checkpoint}".encode()))
    skill, hardness = hard.normal(0, 0.03), hard.random(EXAMPLES)
    masked = "ra" in spec.train.method.name.split("-")[-1] and spec.attack.name not in ("natural", "adaptive")
    share = STANDING[spec.attack.name] + skill + 0.1 * masked
    verdicts = hardness + random.normal(0, 0.01, EXAMPLES) < share
    np.save(files.verdicts, verdicts)
    about = {"forwards": 20 * EXAMPLES, "backwards": 10 * EXAMPLES, "details": {"broken_by": {"first": [1, 2, 3]}}}
    return {"correct": int(verdicts.sum()), "examples": EXAMPLES, **about}


def _judged(spec: DiagnoseSpec, _files: JobFiles, random: np.random.Generator) -> dict[str, object]:
    masked = "ra" in spec.train.method.name.split("-")[-1]
    points = random.uniform(8, 12)
    finding = {
        "code": "autoattack-overestimates",
        "severity": "masked",
        "message": f"AutoAttack overestimates by {points:.2f} points",
        "evidence": f"autoattack {50 + points:.2f}, adaptive 50.00",
        "advice": "Believe adaptive.",
    }
    return {"verdict": "masked" if masked else "trusted", "findings": [finding] * masked, "probes": {}}


def _requests(models: int, one_table: bool) -> Iterator[Request]:
    """What asks for at least so many trainings."""
    attacks = [name for name in STANDING if name != "natural"]
    if one_table:
        betas = ",".join(f"{1 + place / 100:g}" for place in range(models))
        yield Request(["trades"], _images(DATASETS[0]), attacks, model=MODELS[0], settings=[f"trades.beta={betas}"])
        return
    places = list(product(DATASETS, MODELS))
    seeds = range(-(-models // (13 * len(places))))
    for dataset, model in places:
        yield Request(["all", "ablations"], _images(dataset), attacks, model=model, seeds=seeds)


def _images(name: str) -> Data:
    random = np.random.default_rng(0)
    splits = (
        Split(random.integers(256, size=(n, 3, 8, 8), dtype=np.uint8), np.arange(n) % 10) for n in (1000, EXAMPLES)
    )
    return Data(name, *splits, tuple("0123456789"))


@app.command()
def build(workspace: Path, models: int = 1040, one_table: bool = False) -> None:
    """Plan and record so many models."""
    load_plugins(())
    start = time.process_time()
    jobs = [job for request in _requests(models, one_table) for job in plan(request)]
    planned = time.process_time()
    place, executor = Workspace(workspace.resolve(), "none", workspace), Drawn()
    store = Store.open(place.database)
    with (workspace.with_suffix(".log")).open("w") as log:
        observer = Lines(place, Console(file=log), 1)
        outcome = Scheduler(place, store, executor, observer).run(jobs)
    assert len(outcome.done) == len(jobs), outcome
    recorded = time.process_time() - planned - executor.seconds
    print(f"| {len(jobs):,} | {len(jobs) / (planned - start):,.0f} | {len(jobs) / recorded:,.0f} | {_memory():,.0f} |")


@app.command()
def read(workspace: Path) -> None:
    """Time what reads the workspace."""
    for command in READ:
        words = [sys.executable, "-m", "harness", *command.split(), "--workspace", str(workspace)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"| `harness {command}` | {seconds:.1f} |", flush=True)


def _memory() -> float:
    """The most that this process held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    app()
