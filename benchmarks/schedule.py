"""What 585 trainings take on 1, 8 or 256 GPUs, by the scheduler's own order: ``python benchmarks/schedule.py``.

13 methods, 3 data sets, 3 models, 5 seeds; both checkpoints under every attack. What a job takes is counted in forward
passes of its model (``count`` writes them to ``passes.csv``, on small networks), a pass in floating-point operations of
the real model, and these are taken to be done at ``--tflops``: on no GPU was any of it measured.
"""

import csv
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from torch.utils.flop_counter import FlopCounterMode

from harness.api.data import Data, Split
from harness.api.method import Step, methods
from harness.api.model import Inputs, models
from harness.api.specs import DiagnoseSpec, TrainSpec
from harness.api.threat import Threat
from harness.compute.images import to_float
from harness.compute.passes import Passes
from harness.plan.graph import Job, Request, plan
from harness.plugins import load_plugins
from harness.run.estimate import name_of
from harness.run.measure import passes
from harness.run.schedule import simulate
from harness.training.models import build_model
from harness.trust.probes import PROBE_EXAMPLES

app = typer.Typer()
FILE = Path(__file__).with_name("passes.csv")
METHODS, SEEDS = ["all", "ablations"], range(5)
MODELS = ("resnet18", "preactresnet18", "wrn-34-10")
_BATCH = 32


class Images(NamedTuple):
    """How many a data set has, of how many classes, and how large."""

    training: int
    test: int
    classes: int
    size: int


DATASETS = {
    "cifar10": Images(50_000, 10_000, 10, 32),
    "cifar100": Images(50_000, 10_000, 100, 32),
    "tiny-imagenet": Images(100_000, 10_000, 200, 64),
}


def _data(name: str) -> Data:
    """Noise of the data set's size: a plan and a count of passes ask for no more."""
    random, images = np.random.default_rng(0), DATASETS[name]
    splits = (
        Split(random.integers(256, size=(n, 3, images.size, images.size), dtype=np.uint8), np.arange(n) % 10)
        for n in (1000, 100)
    )
    return Data(name, *splits, tuple(map(str, range(images.classes))))


@app.command()
def count() -> None:
    """Count the forward passes that each kind of job takes for an image, on the small CNN with images of CIFAR-10."""
    load_plugins(())
    data, counted = _data("cifar10"), {}
    jobs = {(name_of(job), _method(job)): job for job in plan(Request(METHODS, data))}
    with FILE.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["job", "method", "passes"])
        for (name, method), job in jobs.items():
            if isinstance(job.spec, TrainSpec):
                found = _training_passes(job.spec, data)
            else:
                spent: Passes = passes(job.spec, data, counted)
                found = sum(spent) / (job.spec.test_examples or len(data.test))
            rows.writerow([name, method, f"{found:.4g}"])
            print(name, method, f"{found:.4g}", flush=True)


def _method(job: Job) -> str:
    return (job.spec if isinstance(job.spec, TrainSpec) else job.spec.train).method.name


def _training_passes(spec: TrainSpec, data: Data) -> float:
    """Operations of one step by those of a forward pass of its images, and of the validation by PGD."""
    model = build_model(spec.model_copy(update={"model": "small-cnn"}), data).train()
    x, y = to_float(torch.tensor(data.train.images[:_BATCH])), torch.tensor(data.train.labels[:_BATCH])
    with FlopCounterMode(display=False) as counter:
        step = Step(1, torch.Generator().manual_seed(0))
        methods[spec.method.name](**spec.method.params).loss(model, x, y, Threat.of(spec.threat), step).total.backward()
    held = spec.dataset.validation_fraction
    return counter.get_total_flops() / _flops(model, x) * (1 - held) + 2 * spec.protocol.selection_steps * held


def _flops(model: torch.nn.Module, x: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    return counter.get_total_flops()


@cache
def _flops_an_image(model: str, size: int, classes: int) -> int:
    return _flops(models[model](classes, Inputs(3, size)).eval(), torch.zeros(1, 3, size, size))


def _jobs() -> Iterator[tuple[Job, float]]:
    """Every job, and the operations that it takes."""
    with FILE.open(newline="") as file:
        known = {(row["job"], row["method"]): float(row["passes"]) for row in csv.DictReader(file)}
    for name, model in product(DATASETS, MODELS):
        images, data = DATASETS[name], _data(name)
        each = _flops_an_image(model, images.size, images.classes)
        for job in plan(Request(METHODS, data, model=model, seeds=SEEDS)):
            spec = job.spec
            seen = PROBE_EXAMPLES if isinstance(spec, DiagnoseSpec) else images.test
            seen = images.training * spec.protocol.epochs if isinstance(spec, TrainSpec) else seen
            yield job, known[name_of(job), _method(job)] * seen * each


@app.command()
def show(
    tflops: Annotated[float, typer.Option(help="1e12 operations a second of one GPU, in this work.")] = 15.0,
    price: Annotated[float, typer.Option(help="Of an hour of one GPU.")] = 2.5,
    devices: Annotated[list[int] | None, typer.Option(help="How many GPUs; repeatable.")] = None,
) -> None:
    """Print what each kind of job takes, and the simulated schedules."""
    load_plugins(())
    jobs, operations = zip(*_jobs(), strict=True)
    seconds = {job.id: each / tflops / 1e12 for job, each in zip(jobs, operations, strict=True)}
    print("| jobs | how many | hours, all of them | hours, one of them | money |\n| --- | ---: | ---: | --- | ---: |")
    groups: dict[str, list[float]] = defaultdict(list)
    for job in jobs:
        groups[name_of(job)].append(seconds[job.id] / 3600)
    for name, hours in groups.items():
        span = f"{min(hours):.2g} to {max(hours):.2g}"
        print(f"| {name} | {len(hours):,} | {sum(hours):,.0f} | {span} | {price * sum(hours):,.0f} |")
    total = sum(map(sum, groups.values()))
    print(f"| all | {len(jobs):,} | {total:,.0f} | | {price * total:,.0f} |\n")
    print("| GPUs | days | busy | money | days, if the longest came first |\n| ---: | ---: | ---: | ---: | ---: |")
    longest_first = sorted(jobs, key=lambda job: -seconds[job.id])
    for number in devices or (1, 8, 64, 256):
        found, better = (simulate(order, seconds, number) for order in (jobs, longest_first))
        hours = found.seconds / 3600
        cells = f"{hours / 24:,.1f} | {found.use(number):.0%} | {price * number * hours:,.0f}"
        print(f"| {number} | {cells} | {better.seconds / 86400:,.1f} |")


if __name__ == "__main__":
    app()
