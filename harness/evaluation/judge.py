"""One evaluation: one model under one attack, one verdict per example."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from harness.api.attack import Attack, InRounds, OneRound, Proposal, Round, Survey, Views
from harness.api.errors import CodeFailed, HarnessError
from harness.api.specs import Precision
from harness.api.threat import Threat
from harness.attacks.search.criterion import PROBE
from harness.compute.cheaper import cheaper
from harness.compute.checkpoints import load_state, save_state
from harness.compute.images import device_of, to_images
from harness.compute.memory import fitting, ran_out
from harness.compute.modes import channels_last, evaluating, exact_float32
from harness.compute.passes import counting
from harness.compute.randomness import generator, seeded
from harness.evaluation.arithmetic import Arithmetic, faster_precision, search_arithmetic
from harness.evaluation.judgement import Judgement
from harness.evaluation.verify import still_correct
from harness.views.attackable import attackable, takes_channels_last

_TRIAL = 2  # images that show what a model can do: few, since memory may be short
Report = Callable[[dict[str, Any]], None]
# Positions (M,) of broken examples and the images (M, C, H, W) that broke them, on the model's device, to wherever.
Keep = Callable[[Tensor, Tensor], None]
# Images (M, C, H, W) with labels (M,), and the generator for all draws, to what the attack proposes.
Propose = Callable[[Tensor, Tensor, torch.Generator], Proposal]


# Positions (M,) of a round to those that are attacked here.
Share = Callable[[Tensor], Tensor]


class Examples(NamedTuple):
    """Images ``x`` (N, C, H, W), uint8 or floats in [0, 1] on any device, and their labels ``y`` (N,)."""

    x: Tensor
    y: Tensor

    def at(self, positions: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """The images at ``positions`` (M,) as floats in [0, 1], and their labels, on the device."""
        return to_images(self.x[positions], device), self.y[positions].to(device)


@dataclass
class _Progress:
    """How far a judgement is: the positions ``todo`` of a round, and those in ``probe``, on which the model is tried.

    ``number`` counts the rounds; ``margin`` and ``round`` are those of the :class:`Survey`.
    """

    judgement: Judgement
    probe: Tensor
    todo: Tensor
    number: int
    margin: Tensor
    round: Tensor

    @classmethod
    def begin(cls, right: Tensor) -> "_Progress":
        """Before the first round; ``right`` bool (N,): where the model is right on the clean image."""
        probe = right.nonzero().flatten()[:PROBE]
        margin, last = torch.full(right.shape, torch.inf), torch.full(right.shape, -1)
        return cls(Judgement(right), probe, probe[:0], -1, margin, last)

    @classmethod
    def load(cls, path: Path | None) -> "_Progress | None":
        saved = load_state(path, torch.device("cpu"), [each.name for each in fields(cls)]) if path else None
        if saved is None:
            return None
        return cls(Judgement(**saved.pop("judgement")), **saved)

    def save(self, path: Path) -> None:
        save_state(path, {**vars(self), "judgement": vars(self.judgement)})

    @property
    def survey(self) -> Survey:
        return Survey(self.judgement.verdicts, self.margin, self.round)

    def go_on(self, rounds: Sequence[Round], seed: tuple[object, ...], share: Share) -> None:
        """Where nothing is left to do, choose for the next round that has anything to do."""
        while not len(self.todo) and self.number + 1 < len(rounds):
            self.number += 1
            following = rounds[self.number]
            self.todo = share(following.choose(self.survey, generator(*seed, following.name)))

    def record(self, right: Tensor, proposal: Proposal) -> None:
        """Enter what came of the first examples that were to do: which are still ``right``, bool (M,)."""
        batch, self.todo = self.todo[: len(right)], self.todo[len(right) :]
        self.judgement.record(batch, right, proposal)
        self.round[batch] = self.number
        if proposal.margin is not None:
            self.margin[batch] = torch.minimum(self.margin[batch], proposal.margin.float().cpu())

    def judged(self, whole: InRounds) -> Judgement:
        """The judgement after the last round, with what the attack left open."""
        spared = whole.spared(self.survey)
        self.judgement.spared, self.judgement.may_fall = spared.positions.tolist(), spared.may_fall
        return self.judgement

    def counts(self, share: Share) -> dict[str, int]:
        total = len(share(torch.arange(len(self.judgement.verdicts))))
        return {"examples": total - len(self.todo), "of": total}


def judge(
    model: nn.Module,
    examples: Examples,
    attack: Attack,
    threat: Threat,
    *,
    views: Views,
    seed: tuple[object, ...],
    batch_size: int,
    precision: Precision | None = None,
    state: Path | None = None,
    report: Report = lambda _: None,
    keep: Keep = lambda *_: None,
    shard: tuple[int, int] = (0, 1),
) -> Judgement:
    """Attack what the model gets right, in batches, and verify every proposal in float32 on the model itself.

    ``precision`` is that of the search alone (None: :func:`faster_precision`), where the model bears it
    (:func:`search_arithmetic`). Work happens on the model's device. Randomness is fixed by ``seed`` and the batch. With
    ``state``, finished batches survive a kill; ``keep`` is given a batch's adversarial images before it counts as
    finished. A batch too large for the device's memory is halved. With ``shard`` (k, n), batches k, k + n, ... of a
    round are attacked, as they are in the whole; for attacks of one round.

    Raises:
        HarnessError: if the model's output on the clean images is not (N, K) finite logits.
    """
    whole = attack if isinstance(attack, InRounds) else OneRound(attack)
    progress = _Progress.load(state) or _begin(model, examples, seed, batch_size)
    share = partial(_share, shard=shard, batch_size=batch_size)
    progress.go_on(whole.rounds, seed, share)
    report(progress.counts(share))
    with _prepared(model, views, examples, progress, threat, precision, batch_size) as (attacked, searching):

        def propose(images: Tensor, labels: Tensor, draws: torch.Generator) -> Proposal:
            with searching(), cheaper(attacked, *views.values()):
                search = whole.rounds[progress.number].search
                return Proposal.of(search(attacked, images, labels, threat, generator=draws, views=views))

        while len(progress.todo):
            here = (*seed, whole.rounds[progress.number].name)
            batch_size = _judge_batch(model, examples, threat, propose, progress, here, batch_size, keep)
            progress.go_on(whole.rounds, seed, share)
            if state and len(progress.todo):
                progress.save(state)
            report(progress.counts(share))
    return progress.judged(whole)


def _share(positions: Tensor, shard: tuple[int, int], batch_size: int) -> Tensor:
    """Of positions (M,), those in the batches of the shard."""
    index, of = shard
    return torch.cat([*torch.split(positions, batch_size)[index::of], positions[:0]])


def _judge_batch(
    model: nn.Module,
    examples: Examples,
    threat: Threat,
    propose: Propose,
    progress: _Progress,
    seed: tuple[object, ...],
    batch_size: int,
    keep: Keep,
) -> int:
    """Attack the next examples of ``progress`` and enter what came of it; the number that memory holds at once."""
    judgement, started = progress.judgement, time.perf_counter()
    here = (*seed, int(progress.todo[0]))

    def attempted(size: int) -> tuple[Tensor, Proposal]:
        images, labels = examples.at(progress.todo[:size], device_of(model))
        with evaluating(model), seeded(*here):
            proposal = propose(images, labels, generator(*here, device=images.device))
            return still_correct(model, images, labels, proposal.x_adv, threat).cpu(), proposal

    low = partial(torch.is_autocast_enabled, device_of(model).type)
    with counting(model) as count, counting(model, low) as count_low:
        (right, proposal), batch_size = fitting(attempted, batch_size)
    keep(progress.todo[: len(right)][~right], proposal.x_adv[~right])
    progress.record(right, proposal)
    passes = count()
    judgement.forwards += passes.forwards
    judgement.backwards += passes.backwards
    judgement.bfloat16_forwards += count_low().forwards
    judgement.seconds += time.perf_counter() - started
    return batch_size


def _begin(model: nn.Module, examples: Examples, seed: tuple[object, ...], batch_size: int) -> _Progress:
    with seeded(*seed, "natural"):
        right, _ = fitting(lambda size: naturally_correct(model, examples, size), batch_size)
    return _Progress.begin(right)


@contextmanager
def _prepared(
    model: nn.Module,
    views: Views,
    examples: Examples,
    progress: _Progress,
    threat: Threat,
    precision: Precision | None,
    batch_size: int,
) -> Iterator[tuple[nn.Module, Arithmetic]]:
    """The model as attacks need it, meanwhile in the layout that is fastest, and the arithmetic to search in.

    Both are tried on the images in ``progress.probe``, and what is faster on the next batch.
    """
    if not len(progress.todo):
        yield model, nullcontext
        return
    device, probe = device_of(model), progress.probe
    few = examples.at(probe.repeat(_TRIAL)[:_TRIAL], device)  # two even where one is left: one image proves nothing
    attacked = attackable(model, few[0])
    fast = takes_channels_last(attacked, views, *few)
    with channels_last(model, *views.values()) if fast else nullcontext():
        wanted = precision or faster_precision(
            attacked, lambda size: examples.at(progress.todo[:size], device), batch_size
        )
        yield attacked, search_arithmetic(attacked, views, *examples.at(probe, device), threat, wanted)


def naturally_correct(model: nn.Module, examples: Examples, batch_size: int) -> Tensor:
    """Which clean images the model classifies as labelled: bool (N,), on the CPU.

    Raises:
        HarnessError: if the model cannot take the images, its output is not one row of finite logits per image, or a
            label is none of its classes.
    """
    device, right = device_of(model), [torch.zeros(0, dtype=torch.bool)]
    with evaluating(model), torch.no_grad(), exact_float32(device):
        for batch in torch.split(torch.arange(len(examples.y)), batch_size):
            images, labels = examples.at(batch, device)
            try:
                logits = model(images)
            except HarnessError:
                raise
            except Exception as error:  # whatever a foreign model raises
                if ran_out(error):
                    raise
                raise CodeFailed(f"the model fails on images (C, H, W) = {tuple(images.shape[1:])}", error) from error
            _check_logits(logits, labels)
            right.append((logits.argmax(1) == labels).cpu())
    return torch.cat(right)


def _check_logits(logits: Tensor, labels: Tensor) -> None:
    if logits.dim() != 2 or len(logits) != len(labels):
        shape = f"got {tuple(logits.shape)} for {len(labels)} images"
        raise HarnessError(f"the model must return logits of shape (N, classes), {shape}")
    if logits.shape[1] < 2:
        raise HarnessError("the model has a single output: return one logit for each of at least two classes")
    if not logits.isfinite().all():
        raise HarnessError("the model's logits on clean images are not finite numbers")
    if int(labels.max()) >= logits.shape[1]:
        raise HarnessError(f"label {int(labels.max())} does not fit a model with {logits.shape[1]} outputs")
