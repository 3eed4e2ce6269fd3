"""What jobs will take, from a few batches of each kind on one device. A worker executes it.

A training is cut short and extrapolated. An attack is not run on the model: it takes as many passes as on a small
network, where they are counted, and each takes as long as one through the model, where a few are timed.
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import Tensor, nn

from harness.api.attack import Attack
from harness.api.data import Data
from harness.api.method import methods
from harness.api.model import Inputs, models
from harness.api.specs import DiagnoseSpec, EvaluateSpec, TrainSpec
from harness.api.threat import Threat
from harness.attacks import resolve
from harness.compute.cheaper import cheaper
from harness.compute.images import to_float
from harness.compute.modes import channels_last, computing_in, evaluating
from harness.compute.passes import Passes, counting
from harness.compute.randomness import generator, seeded
from harness.evaluation.judge import Examples, judge
from harness.evaluation.stand_ins import stand_ins_for
from harness.plan.graph import Job
from harness.plugins import load_plugins
from harness.run.costs import Cost, Kind
from harness.run.executors import JobExecutor
from harness.run.worker import device_name, load_once
from harness.run.workspace import Workspace
from harness.training.loop import train
from harness.training.models import build_method, build_model
from harness.trust.probes import PROBE_EXAMPLES, probe
from results.layout import JobFiles

Measured = TrainSpec | EvaluateSpec | DiagnoseSpec
STANDING = 0.5  # the share of examples that is taken to stand under any attack, of a method that trains for it
SOURCE = "measured on a few batches"
_BATCHES = 3  # of an epoch
_FEW, _MANY = 32, 500  # images in a timed batch
_QUICK = 0.1  # seconds that a few of them may take for many of them to be timed
_TURNS = 3  # of which the fastest counts: other work on the machine does no job faster
_COUNTED, _PROBED = 8, 25  # images whose passes are counted
_LOOKS = 2  # at an example that falls at once: the clean image, and what the attack proposes
_NO_BALL = 1e-6  # a radius in which nothing falls


class Speed(NamedTuple):
    """Seconds that one image takes forwards, and backwards, through a model; the most GiB held meanwhile, on a GPU."""

    forwards: float
    backwards: float
    memory: float | None

    def of(self, passes: Passes) -> float:
        """Seconds of so many."""
        return passes.forwards * self.forwards + passes.backwards * self.backwards


def measure(jobs: Iterable[Job], workspace: Workspace, pool: JobExecutor) -> dict[Kind, Cost]:
    """The cost of one job of each kind on the devices of the pool, all of them busy with the same: the mean of them.

    Features jobs are left out: they wait for scikit-learn for the most part.
    """
    first = {job.kinds[0]: job.spec for job in reversed([*jobs]) if isinstance(job.spec, Measured)}
    call = partial(_measured, first, workspace)
    everywhere = [future.result() for future in pool.everywhere(call)]
    return {kind: _mean([costs[kind] for costs in everywhere]) for kind in first}


def _mean(costs: Sequence[Cost]) -> Cost:
    return costs[0]._replace(seconds=fmean(cost.seconds for cost in costs))


def _measured(specs: Mapping[Kind, Measured], workspace: Workspace, where: str) -> dict[Kind, Cost]:
    load_plugins(workspace.plugins)
    data, device = load_once(workspace.dataset, workspace.data_root), torch.device(where)
    speeds: dict[str, Speed] = {}
    counted: dict[str, Passes] = {}
    found = {}
    for kind, spec in specs.items():
        if isinstance(spec, TrainSpec):
            seconds, memory = training_cost(spec, data, device)
        else:
            name = spec.train.method.name
            speeds[name] = speeds.get(name) or speed(spec.train, data, device)
            seconds, memory = speeds[name].of(passes(spec, data, counted)), speeds[name].memory
        found[kind] = Cost(seconds, memory, device_name(device), SOURCE)
    return found


def training_cost(spec: TrainSpec, data: Data, device: torch.device) -> tuple[float, float | None]:
    """Seconds and GiB (on a GPU) of a training, by the second epoch of one on a few batches.

    What an epoch takes for its images, for those held out, and for its checkpoint, each on its own.
    """
    wanted = math.ceil(_BATCHES * spec.protocol.batch_size / (1 - spec.dataset.validation_fraction))
    few = min(spec.dataset.train_examples or len(data.train), wanted)
    short = spec.model_copy(
        update={
            "protocol": spec.protocol.model_copy(update={"epochs": 2}),
            "dataset": spec.dataset.model_copy(update={"train_examples": few}),
        }
    )
    ends, epochs = list[float](), list[dict[str, float]]()

    def report(progress: dict[str, float]) -> None:
        ends.append(time.perf_counter())
        epochs.append(progress)

    with TemporaryDirectory() as folder:
        train(short, data, device, JobFiles(Path(folder)), report)
    epoch, memory = epochs[-1], epochs[-1]["peak_memory"]
    saving = ends[-1] - ends[-2] - epoch["seconds"]
    return extrapolated(spec, len(data.train), few, epoch, saving), memory / 2**30 if memory else None


def extrapolated(spec: TrainSpec, available: int, few: int, epoch: Mapping[str, float], saving: float) -> float:
    """Seconds of the whole training by one ``epoch`` of its history on the first ``few`` of its examples.

    ``saving`` are those of its checkpoint; ``available`` is how many examples there are.
    """
    held, batch = _held_out(few, spec), spec.protocol.batch_size
    images = (few - held) // batch * batch or few - held
    training = images / epoch["images_per_second"]
    validation = epoch["seconds"] - training
    limit = spec.dataset.train_examples or available
    held_of_all = _held_out(limit, spec)
    whole = training / images * (limit - held_of_all) + validation / held * held_of_all + saving
    return spec.protocol.epochs * whole


def _held_out(examples: int, spec: TrainSpec) -> int:
    return max(1, round(examples * spec.dataset.validation_fraction))


def speed(spec: TrainSpec, data: Data, device: torch.device) -> Speed:
    """How fast images pass through the model in a search: a few steps of PGD, and forward passes alone."""
    model = build_model(spec, data).to(device).eval()
    images = torch.tensor(data.test.images[:_MANY])
    quick = _FEW * _forward(model, to_float(images[:_FEW].to(device)), "float32") < _QUICK
    x = images if quick else images[:_FEW]
    with torch.no_grad():
        y = model(to_float(x.to(device))).argmax(1).cpu()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    threat, pgd = Threat.of(spec.threat), resolve("pgd-5")
    turns = [
        judge(model, Examples(x, y), pgd, threat, views={}, seed=(0,), batch_size=len(x)) for _ in range(_TURNS + 1)
    ]
    judged = min(turns[1:], key=lambda turn: turn.seconds)
    forward = _forward(model, to_float(x.to(device)), "bfloat16" if judged.bfloat16_forwards else "float32")
    memory = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
    backward = (judged.seconds - judged.forwards * forward) / max(judged.backwards, 1)
    return Speed(forward, max(backward, forward), memory)


def _forward(model: nn.Module, x: Tensor, precision: str) -> float:
    """Seconds an image, as searches are done; the first call chooses and compiles kernels."""
    seconds = []
    with channels_last(model), cheaper(model), computing_in(precision, x.device), torch.no_grad():
        for _ in range(_TURNS + 1):
            started = time.perf_counter()
            model(x).argmax(1).cpu()
            seconds.append(time.perf_counter() - started)
    return min(seconds[1:]) / len(x)


def passes(spec: EvaluateSpec | DiagnoseSpec, data: Data, counted: dict[str, Passes]) -> Passes:
    """How many images a job will send through its model: as many for each example as on a small network.

    Half of the examples are taken to stand, the others to fall at once; where the method does not train for it, all of
    them. ``counted`` keeps what was counted for specs before, of examples that stand.
    """
    examples = spec.test_examples or len(data.test)
    model = build_model(spec.train.model_copy(update={"model": "small-cnn"}), data).eval()
    if isinstance(spec, DiagnoseSpec):
        return _times(_probe_passes(model, data, spec), min(examples, PROBE_EXAMPLES) / _PROBED)
    attack = type(resolve(spec.attack.name))(**spec.attack.params)
    uses_views = getattr(attack, "uses_views", False)
    key = f"{spec.attack.name} {spec.train.method.name if uses_views else ''}"
    if not uses_views:  # then what a method adds to its model makes no difference, and might hide its gradient
        with seeded("passes"):
            model = models["small-cnn"](data.num_classes, Inputs(data.channels, data.size, data.mean, data.std)).eval()
    if key not in counted:
        threat = replace(Threat.of(spec.threat), eps=_NO_BALL)
        views = build_method(spec.train).attack_views(model) if uses_views else {}
        counted[key] = _attack_passes(model, data, attack, threat, views)
    share = STANDING if methods[spec.train.method.name].best_by == "robust" else 0.0
    standing = _times(counted[key], share * examples / _COUNTED)
    return Passes(standing.forwards + round(_LOOKS * (1 - share) * examples), standing.backwards)


def _times(found: Passes, factor: float) -> Passes:
    return Passes(round(found.forwards * factor), round(found.backwards * factor))


def _attack_passes(
    model: nn.Module, data: Data, attack: Attack, threat: Threat, declared: Mapping[str, nn.Module]
) -> Passes:
    """On examples that the model gets right."""
    x = torch.tensor(data.test.images[:_COUNTED])
    with torch.no_grad():
        y = model(to_float(x)).argmax(1)
    views = stand_ins_for(attack, model, x, threat, declared)
    judged = judge(
        model, Examples(x, y), attack, threat, views=views, seed=(0,), batch_size=_COUNTED, precision="float32"
    )
    return Passes(judged.forwards, judged.backwards)


def _probe_passes(model: nn.Module, data: Data, spec: DiagnoseSpec) -> Passes:
    x = to_float(torch.tensor(data.test.images[:_PROBED]))
    with evaluating(model), torch.no_grad():
        y = model(x).argmax(1)
    with counting(model) as count:
        probe(model, x, y, Threat.of(spec.threat), generator=generator(0), batch_size=_PROBED)
    return count()
