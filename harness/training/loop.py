"""One training job: data on the device, schedule, precision, checkpoints, history. The objective is the method's."""

import json
import math
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from harness.api.data import Data, Split
from harness.api.errors import HarnessError
from harness.api.method import LossTerms, Step
from harness.api.specs import TrainSpec
from harness.api.threat import Threat
from harness.compute.ascent import ascend
from harness.compute.checkpoints import load_state, save_state, save_weights
from harness.compute.files import save_text
from harness.compute.images import augment, to_float
from harness.compute.modes import computing_in, evaluating, to_channels_last
from harness.compute.randomness import generator, seeded
from harness.datasets.holdout import hold_out
from harness.training.group import Group
from harness.training.memory import within_memory
from harness.training.models import build_method, build_model
from harness.training.schedules import learning_rate
from results.layout import JobFiles

Report = Callable[[dict[str, Any]], None]
VALIDATION_BATCH = 500
_STATE = ("epoch", "best", "history", "model", "optimizer", "average", "best_weights")


class TrainingDiverged(HarnessError):
    """The loss is no longer a finite number."""


def train(
    spec: TrainSpec, data: Data, device: torch.device, files: JobFiles, report: Report, group: Group | None = None
) -> dict[str, Any]:
    """Train until the last epoch, resuming from ``files.training_state`` if a run was cut off there.

    Of a ``group`` of processes, all of which call this, the leading one writes the files.

    Leaves ``best.safetensors`` (highest accuracy on the held-out validation split: robust, then natural, unless the
    method says otherwise), ``last.safetensors`` and ``history.jsonl``; returns what goes into ``result.json``.

    Raises:
        TrainingDiverged: if a term of the loss is not finite; the checkpoint of the last good epoch stays.
        harness.training.memory.BatchTooLarge: if memory runs out; the message says how many images at once would fit.
    """
    run = _Run(spec, data, device, files, group or Group())
    report({"epoch": run.epoch, "epochs": spec.protocol.epochs})
    while run.epoch < spec.protocol.epochs:
        run.train_epoch()
        report({"epoch": run.epoch, "epochs": spec.protocol.epochs, **run.history[-1]})
    if run.group.leads:
        save_weights(files.weights("last"), run.kept_model.state_dict())
    return {
        "epochs": run.epoch,
        "best_epoch": run.best[2],
        "images_per_second": _median([entry["images_per_second"] for entry in run.history]),
        "peak_memory": max((entry["peak_memory"] or 0 for entry in run.history), default=0) or None,
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "paper": run.method.paper._asdict() if run.method.paper else None,
    }


class _Run:
    """The moving parts of a training job; everything in them is in the checkpoint."""

    def __init__(self, spec: TrainSpec, data: Data, device: torch.device, files: JobFiles, group: Group) -> None:
        self.group = group
        self.spec, self.device, self.files, self.protocol = spec, device, files, spec.protocol
        self.method, self.threat = build_method(spec), Threat.of(spec.threat)
        limited = data.train.head(spec.dataset.train_examples)
        training, validation = hold_out(limited, spec.dataset.validation_fraction, spec.seed)
        if len(training) < 2:
            raise HarnessError(f"{len(limited)} training examples are too few: at least 2 must remain to train on")
        self.training, self.validation = _on_device(training, device), _on_device(validation, device)
        self.batch_size = min(self.protocol.batch_size, len(training))
        self.steps = len(training) // self.batch_size
        self.model = build_model(spec, data).to(device)
        _check_leaves_images_alone(self.model, spec.model, to_float(self.training[0][:2]))
        to_channels_last(self.model)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=self.protocol.lr,
            momentum=self.protocol.momentum,
            weight_decay=self.protocol.weight_decay,
        )
        decay = self.protocol.weight_averaging
        averaging = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(self.model, multi_avg_fn=averaging, use_buffers=True) if decay else None
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self.epoch = 0
        self.best = (-1.0, -1.0, 0)  # the accuracy that chooses, the one that breaks ties, the epoch
        self.best_weights: dict[str, Tensor] = {}
        self.history: list[dict[str, Any]] = []
        self._restore()
        group.agree(self.epoch, device)

    @property
    def kept_model(self) -> nn.Module:
        """The model that is validated and saved: the averaged one if there is one."""
        return self.average.module if self.average else self.model

    def train_epoch(self) -> None:
        """One pass over the training data, then validation and a checkpoint."""
        started = time.perf_counter()
        self.epoch += 1
        with seeded(self.spec.seed, "training", self.epoch):  # what dropout and plugins draw
            totals = self._optimise()
        seconds = time.perf_counter() - started
        natural, robust = self._validate()
        self.history.append(
            {
                "epoch": self.epoch,
                "lr": self.optimizer.param_groups[0]["lr"],
                "loss": totals.pop("total"),
                "terms": totals,
                "validation_natural": natural,
                "validation_robust": robust,
                "images_per_second": self.steps * self.batch_size / seconds,
                "peak_memory": torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else None,
                "seconds": time.perf_counter() - started,
            }
        )
        score = (robust, natural) if self.method.best_by == "robust" else (natural, robust)
        if score > self.best[:2]:
            self.best = (*score, self.epoch)
            self.best_weights = {name: value.cpu().clone() for name, value in self.kept_model.state_dict().items()}
        self._save()

    def _optimise(self) -> dict[str, float]:
        images, labels = self.training
        order = torch.randperm(len(labels), generator=generator(self.spec.seed, "order", self.epoch)).to(self.device)
        draws = generator(self.spec.seed, "training", self.epoch, device=self.device)
        totals: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.device))
        model = self.group.divided(self.model).train()
        for index in range(self.steps):
            progress = (self.epoch - 1 + index / self.steps) / self.protocol.epochs
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.protocol, progress)
            batch = order[index * self.batch_size : (index + 1) * self.batch_size]
            x = augment(to_float(images[batch]), self.protocol.augmentation, draws)
            step = partial(self._differentiate, model, x, labels[batch], Step(self.epoch, draws))
            # In a group smaller steps cannot be tried: the others wait in this one, and fail when this process ends.
            loss = within_memory(step, len(x)) if self.group.size == 1 else step(len(x))
            self.optimizer.step()
            if self.average:
                self.average.update_parameters(self.model)
            totals["total"] += loss.total.detach()
            for name, term in loss.terms.items():
                totals[name] += term.detach()
        means = {name: float(total) / self.steps for name, total in totals.items()}
        self._check_finite(means)
        return means

    def _differentiate(self, model: nn.Module, x: Tensor, y: Tensor, step: Step, size: int) -> LossTerms:
        """The loss on the first ``size`` images of a batch, and its gradient in the parameters."""
        with computing_in(self.protocol.precision, self.device):
            returned = self.method.loss(model, x[:size], y[:size], self.threat, step)
        loss = _checked(self.spec.method.name, returned)
        self.optimizer.zero_grad()
        loss.total.backward()  # type: ignore[no-untyped-call]
        self.group.sum_gradients(self.model)
        return loss

    def _check_finite(self, means: dict[str, float]) -> None:
        """Terms before the total, so that the message names the culprit; then what the last step did to the weights."""
        seen = {f"loss term {name!r}": mean for name, mean in means.items() if name != "total"}
        seen["total loss"] = means["total"]
        seen["largest weight"] = float(torch.stack([p.detach().abs().max() for p in self.model.parameters()]).max())
        for name, value in seen.items():
            if not math.isfinite(value):
                raise TrainingDiverged(
                    f"{self.spec.method.name}: the {name} became {value} in epoch {self.epoch}. The checkpoint of "
                    f"epoch {self.epoch - 1} is kept; try a lower rate, for example "
                    f"--set protocol.lr={self.protocol.lr / 10:g}"
                )

    def _validate(self) -> tuple[float, float]:
        """Natural and PGD accuracy on the validation split, from the same random start in every epoch."""
        draws = generator(self.spec.seed, "validation", device=self.device)
        model = self.group.divided(self.kept_model)
        counts = torch.zeros(2, dtype=torch.long, device=self.device)
        for images, labels in zip(*(torch.split(part, VALIDATION_BATCH) for part in self.validation), strict=True):
            x = to_float(images)
            start = self.threat.random_start(x, draws)
            with computing_in(self.protocol.precision, self.device), evaluating(model):
                x_adv = ascend(
                    model,
                    x,
                    lambda z, y=labels: F.cross_entropy(model(z).float(), y, reduction="sum"),  # type: ignore[misc]
                    self.threat,
                    start=start,
                    steps=self.protocol.selection_steps,
                )
                with torch.no_grad():
                    right = model(x).argmax(1) == labels
                    counts += torch.stack([right.sum(), (right & (model(x_adv).argmax(1) == labels)).sum()])
        natural, robust = counts.tolist()
        count = max(len(self.validation[1]), 1)
        return natural / count, robust / count

    def _save(self) -> None:
        if not self.group.leads:
            return
        state = {
            "epoch": self.epoch,
            "best": self.best,
            "history": json.dumps(self.history),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "best_weights": self.best_weights,
        }
        save_state(self.files.training_state, state)
        self._publish()

    def _restore(self) -> None:
        state = load_state(self.files.training_state, self.device, _STATE)
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average:
            self.average.load_state_dict(state["average"])
        self.epoch, self.best = state["epoch"], tuple(state["best"])
        self.best_weights = state["best_weights"]
        self.history = json.loads(state["history"])
        self._publish()

    def _publish(self) -> None:
        """What others read, always that of the checkpoint, whenever a kill comes."""
        if not self.group.leads:
            return
        best = self.files.weights("best")
        if self.best[2] == self.epoch or not best.exists():
            save_weights(best, self.best_weights)
        save_text(self.files.history, "".join(json.dumps(entry) + "\n" for entry in self.history))


def _check_leaves_images_alone(model: nn.Module, name: str, x: Tensor) -> None:
    """The objective needs the images again: a model that writes into them would train on others than it was given."""
    given = x.clone()
    with evaluating(model), torch.no_grad():
        model(given)
    if not torch.equal(given, x):
        raise HarnessError(
            f"model {name!r} changes its images in place, which the objective needs as they are: "
            "write x - mean in place of x.sub_(mean), and give no inplace=True to what comes first"
        )


def _checked(method: str, returned: Any) -> LossTerms:
    """What a method's ``loss()`` returned, if it can be differentiated and kept."""
    if not isinstance(returned, LossTerms):
        got = f"tensor of shape {tuple(returned.shape)}" if isinstance(returned, Tensor) else type(returned).__name__
        raise HarnessError(f"{method}: loss() must return LossTerms(total, terms), got a {got}")
    for name, value in ("total", returned.total), *returned.terms.items():
        if not isinstance(value, Tensor) or value.shape:
            got = f"has shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"is {value!r}"
            raise HarnessError(f"{method}: loss() must return scalar tensors, as .mean() makes them; {name!r} {got}")
    if not returned.total.requires_grad:
        raise HarnessError(f"{method}: the total of loss() has no gradient: it was detached or made under no_grad()")
    return returned


def _on_device(split: Split, device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.tensor(split.images, device=device), torch.tensor(split.labels, device=device)


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else 0.0
