"""One evaluation: one model under one attack, one verdict per example."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from harness.attacks import resolve
from harness.attacks.adaptive import TRANSFER
from harness.attacks.attackable import attackable, takes_channels_last
from harness.attacks.base import Attack, Proposal, Views
from harness.attacks.derived import derived_views, without_repeats
from harness.attacks.judging import PROBE
from harness.attacks.reference import captured_warnings
from harness.attacks.rounding import Arithmetic, search_arithmetic
from harness.augmentation import to_float
from harness.checkpoints import load_state, save_state
from harness.datasets.base import Data
from harness.errors import HarnessError
from harness.modes import channels_last, evaluating, exact_float32
from harness.randomness import generator, seeded
from harness.specs import EvaluateSpec, Precision, TrainSpec
from harness.threat import Threat
from harness.training import build_method, trained_model
from harness.verification import still_correct

_TRIAL = 2  # images that show what a model can do: few, since memory may be short
Report = Callable[[dict[str, Any]], None]


@dataclass
class Judgement:
    """What one attack left standing: ``verdicts`` bool (N,), True where the model is still right.

    ``broken_by`` maps each part of the attack, in the order in which they ran, to the positions of the examples that
    it broke; ``lost`` counts the successes an attack claimed that the model, asked again in float32, did not confirm.
    ``warnings`` are what the attack library said meanwhile, ``forwards`` the images sent through the model.
    """

    verdicts: Tensor
    broken_by: dict[str, list[int]] = field(default_factory=dict)
    lost: int = 0
    warnings: list[str] = field(default_factory=list)
    forwards: int = 0
    seconds: float = 0.0

    def causes(self) -> list[str | None]:
        """For each example the part of the attack that broke it; None where none did."""
        causes: list[str | None] = [None] * len(self.verdicts)
        for part, positions in self.broken_by.items():
            for position in positions:
                causes[position] = part
        return causes


def judge(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: Attack,
    threat: Threat,
    *,
    views: Views,
    seed: tuple[object, ...],
    batch_size: int,
    precision: Precision = "float32",
    state: Path | None = None,
    report: Report = lambda _: None,
) -> Judgement:
    """Attack what the model gets right, in batches, and verify every proposal in float32 on the model itself.

    ``precision`` is that of the search alone, where the model bears it (:func:`search_arithmetic`); the last steps of
    each search are done in float32.

    ``x`` (N, C, H, W) are uint8 images or floats in [0, 1] on any device, ``y`` (N,) their labels; work happens on
    the model's device. Randomness is fixed by ``seed`` and the batch. With ``state``, finished batches survive a
    kill. A batch too large for the device's memory is halved.

    Raises:
        HarnessError: if the model's output on the clean images is not (N, K) finite logits.
    """
    device = device_of(model)
    clock = time.perf_counter()
    saved = load_state(state, torch.device("cpu")) if state else None
    if saved:
        todo: Tensor = saved.pop("todo")
        probe: Tensor = saved.pop("probe")
        judgement = Judgement(**saved)
    else:
        with seeded(*seed, "natural"):
            judgement = Judgement(_naturally_correct_in_memory(model, x, y, batch_size))
        todo = judgement.verdicts.nonzero().flatten()
        probe = todo[:PROBE]
    total = int(judgement.verdicts.numel())
    report({"examples": total - len(todo), "of": total})
    with _prepared(model, views, x, y, probe, threat, precision) as (attacked, searching):
        while len(todo):
            batch = todo[:batch_size]
            images, labels = to_images(x[batch], device), y[batch].to(device)
            here = (*seed, "batch", int(batch[0]))
            draws = generator(*here, device=device)
            try:
                with counting(model) as count, captured_warnings() as warnings, evaluating(model), seeded(*here):
                    with searching():
                        found = attack(attacked, images, labels, threat, generator=draws, views=views)
                    proposal = Proposal.of(found)
                    right = still_correct(model, images, labels, proposal.x_adv, threat)
            except torch.OutOfMemoryError:
                if batch_size == 1:
                    raise
                batch_size //= 2
                torch.cuda.empty_cache()
                continue
            _record(judgement, batch, right.cpu(), proposal)
            judgement.forwards += count()
            judgement.warnings += [text for text in warnings if text not in judgement.warnings]
            judgement.seconds += time.perf_counter() - clock
            clock, todo = time.perf_counter(), todo[len(batch) :]
            if state and len(todo):
                save_state(state, {**vars(judgement), "todo": todo, "probe": probe})
            report({"examples": total - len(todo), "of": total})
    return judgement


@contextmanager
def _prepared(
    model: nn.Module, views: Views, x: Tensor, y: Tensor, probe: Tensor, threat: Threat, precision: Precision
) -> Iterator[tuple[nn.Module, Arithmetic]]:
    """The model as attacks need it, meanwhile in the layout that is fastest, and the arithmetic to search in.

    Both are tried on the images at ``probe``.
    """
    if not len(probe):
        yield model, nullcontext
        return
    few = probe.repeat(_TRIAL)[:_TRIAL]  # two even where one is left: reshaping one image proves nothing
    device = device_of(model)
    attacked = attackable(model, to_images(x[few], device))
    fast = takes_channels_last(attacked, views, to_images(x[few], device), y[few].to(device))
    with channels_last(model, *views.values()) if fast else nullcontext():
        images, labels = to_images(x[probe], device), y[probe].to(device)
        yield attacked, search_arithmetic(attacked, views, images, labels, threat, precision)


def _record(judgement: Judgement, batch: Tensor, right: Tensor, proposal: Proposal) -> None:
    part = proposal.part.cpu()
    judgement.verdicts[batch] = right
    judgement.lost += int(((part >= 0) & right).sum())
    for number, name in enumerate(proposal.parts):
        judgement.broken_by.setdefault(name, []).extend(batch[(part == number) & ~right].tolist())


def _naturally_correct_in_memory(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> Tensor:
    while True:
        try:
            return naturally_correct(model, x, y, batch_size)
        except torch.OutOfMemoryError:
            if batch_size == 1:
                raise
        batch_size //= 2


def naturally_correct(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> Tensor:
    """Which clean images the model classifies as labelled: bool (N,), on the CPU.

    Raises:
        HarnessError: if the model cannot take the images, its output is not one row of finite logits per image, or a
            label is none of its classes.
    """
    device, right = device_of(model), []
    with evaluating(model), torch.no_grad(), exact_float32(device):
        for images, labels in zip(torch.split(x, batch_size), torch.split(y, batch_size), strict=True):
            try:
                logits = model(to_images(images, device))
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                shape = tuple(images.shape[1:])
                raise HarnessError(f"the model fails on images (C, H, W) = {shape}: {error}") from error
            if logits.dim() != 2 or len(logits) != len(labels):
                raise HarnessError(f"the model must return logits of shape (N, classes), got {tuple(logits.shape)}")
            if not logits.isfinite().all():
                raise HarnessError("the model's logits on clean images are not finite numbers")
            if int(labels.max()) >= logits.shape[1]:
                raise HarnessError(f"label {int(labels.max())} does not fit a model with {logits.shape[1]} outputs")
            right.append((logits.argmax(1) == labels.to(device)).cpu())
    return torch.cat(right) if right else torch.zeros(0, dtype=torch.bool)


def evaluate_job(
    spec: EvaluateSpec, data: Data, device: torch.device, directory: Path, report: Report
) -> tuple[Judgement, dict[str, Any]]:
    """One evaluation job: the judgement, and what goes into ``result.json``."""
    model = checkpoint_model(spec.train, spec.train_id, spec.checkpoint, data, directory.parent).to(device)
    test, attack = data.test.head(spec.test_examples), type(resolve(spec.attack.name))(**spec.attack.params)
    siblings = {
        each.train.method.name: checkpoint_model(each.train, each.train_id, spec.checkpoint, data, directory.parent)
        for each in spec.siblings
    }
    images, threat = torch.from_numpy(test.images.copy()), Threat(**spec.threat.model_dump())
    judgement = judge(
        model,
        images,
        torch.from_numpy(test.labels.copy()),
        attack,
        threat,
        views=views_for(attack, model, images, threat, build_method(spec.train).attack_views(model), siblings),
        seed=(spec.seed, spec.attack.name),
        batch_size=spec.batch_size,
        precision=spec.train.protocol.precision,
        state=directory / "state" / "evaluation.pt",
        report=report,
    )
    return judgement, {
        "correct": int(judgement.verdicts.sum()),
        "examples": len(test),
        "forwards": judgement.forwards,
        "warnings": judgement.warnings,
        "attack_seconds": judgement.seconds,
        "details": {"broken_by": judgement.broken_by, "lost": judgement.lost},
    }


def checkpoint_model(train: TrainSpec, train_id: str, checkpoint: str, data: Data, jobs: Path) -> nn.Module:
    """The model of a finished training job under ``jobs``, in evaluation mode."""
    return trained_model(train, data, jobs / train_id / f"{checkpoint}.safetensors").eval()


def views_for(
    attack: Attack,
    model: nn.Module,
    images: Tensor,
    threat: Threat,
    declared: Mapping[str, nn.Module],
    siblings: Mapping[str, nn.Module] = MappingProxyType({}),
) -> dict[str, nn.Module]:
    """The stand-ins for ``model``, on its device, for an attack that uses any.

    Those that the method or the model names for itself (``declared``), those derived from how it computes
    (:mod:`harness.attacks.derived`), and ``siblings``, by the names of their methods.
    """
    if not getattr(attack, "uses_views", False):
        return {}
    device = device_of(model)
    probe = to_images(images[:PROBE], device)
    derived = derived_views(model, probe, threat, generator=generator("derived views", device=device))
    derived = without_repeats(derived, declared, probe)
    others = {f"{TRANSFER}{name}": sibling.to(device) for name, sibling in siblings.items()}
    return {**declared, **derived, **others}


@contextmanager
def counting(model: nn.Module) -> Iterator[Callable[[], int]]:
    """Count the images that pass through the model's first layer, whichever view of the model they enter by."""
    first = next((m for m in model.modules() if next(m.parameters(recurse=False), None) is not None), model)
    seen = 0

    def count(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        nonlocal seen
        seen += len(next(iter((*inputs, *named.values()))))

    handle = first.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield lambda: seen
    finally:
        handle.remove()


def worst_case(verdicts: Mapping[str, Tensor]) -> Tensor:
    """The examples that stand under every attack: the intersection of bool (N,) verdicts."""
    return torch.stack(list(verdicts.values())).all(0)


def to_images(images: Tensor, device: torch.device) -> Tensor:
    """Images as floats in [0, 1] on the device, from uint8 or floats of any precision."""
    images = images.to(device)
    return to_float(images) if images.dtype == torch.uint8 else images.float()


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter or buffer lies; the CPU for a model without any."""
    first = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if first is None else first.device
