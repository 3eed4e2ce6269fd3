"""How the probes look at a model: in batches, with a zero where autograd gives no gradient, along attacks and noise."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from harness.api.threat import Threat
from harness.attacks.losses import cross_entropy
from harness.compute.gradients import Look, look
from harness.views.survey import foretold

DRAWS = 100
PROMISES = 50
LAST_STEPS = 10
STILL_RISING = 0.05
VANISHING = 1e-6  # nats
ROUNDING = 0.01  # a distance of normalised logits


class Trace(NamedTuple):
    """Along an attack of S steps on M examples: loss and whether the model is fooled, each (S + 1, M)."""

    loss: Tensor
    wrong: Tensor

    def still_rising(self) -> Tensor:
        """Whether the highest loss so far rose by over 5 % of the loss' range in the last 10 steps: bool (M,)."""
        highest = self.loss.cummax(0).values
        return highest[-1] - highest[-1 - LAST_STEPS] > STILL_RISING * (self.loss.amax(0) - self.loss.amin(0))


class Subject(NamedTuple):
    """The model under a threat, asked in batches; modes and frozen parameters are the caller's business."""

    model: nn.Module
    threat: Threat
    generator: torch.Generator
    batch_size: int

    def logits(self, x: Tensor, *, wanted: bool = False) -> Tensor:
        """(N, K), detached; ``wanted`` says whether the model is asked as if for a gradient."""
        with torch.set_grad_enabled(wanted):
            parts = (part.detach().clone().requires_grad_(wanted) for part in torch.split(x, self.batch_size))
            return torch.cat([self.model(part).detach().float() for part in parts])

    def look(self, x: Tensor, y: Tensor) -> Look:
        """The cross-entropy at images ``x`` (M, C, H, W) with labels ``y`` (M,), and its gradient."""
        parts = zip(torch.split(x, self.batch_size), torch.split(y, self.batch_size), strict=True)
        return Look.joined(look(self.model, *self._question(*part)) for part in parts)

    def _question(self, x: Tensor, y: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return x, lambda logits: cross_entropy(logits, y)

    def vanishing(self, seen: Look) -> Tensor:
        """Where eps times the gradient's dual norm, the loss that it promises, is under 1e-6 nats: bool (M,).

        In a ball of less than a grey level it is under so much less.
        """
        side = 1.0 if self.threat.norm == "Linf" else math.sqrt(seen.gradient[0].numel())
        grey_levels = 255 * self.threat.eps / side
        return self.threat.eps * self.threat.dual_norm(seen.gradient) < VANISHING * min(grey_levels, 1.0)

    def foretold(self, x: Tensor, y: Tensor) -> float:
        """How well the gradient foretells what small moves do to the label's logit over the next best's.

        Of the first 50 examples, which fit in memory together.
        """
        count = min(PROMISES, self.batch_size)
        x, y = x[:count], y[:count]
        others = self.logits(x).scatter(1, y[:, None], -math.inf).argmax(1)
        return foretold(self.model, x, torch.stack([y, others], 1), self.threat)

    def follow(self, x: Tensor, y: Tensor, multiple: float, steps: int) -> Trace:
        """PGD in ``multiple`` times the ball in steps of a quarter of it; infinity: all of [0, 1] in steps of 1/50.

        It starts within the threat's own ball whatever the multiple: the way further is the gradient's to find.
        """
        threat, box = self.threat, 1.0 if self.threat.norm == "Linf" else math.sqrt(x[0].numel())
        ball = replace(threat, eps=min(multiple * threat.eps, box))
        size = max(threat.eps / 4, box / 50) if multiple == math.inf else ball.eps / 4
        x_adv = replace(threat, eps=min(threat.eps, ball.eps)).random_start(x, self.generator)
        loss, wrong = [], []
        for _ in range(steps):
            seen = self.look(x_adv, y)
            loss.append(seen.values.nan_to_num())
            wrong.append(fooled(seen.logits, y))
            x_adv = ball.step(x_adv, seen.gradient, x, size)
        logits = self.logits(x_adv)
        loss.append(cross_entropy(logits, y).nan_to_num())
        wrong.append(fooled(logits, y))
        return Trace(torch.stack(loss), torch.stack(wrong))

    def fooled_by_noise(self, x: Tensor, y: Tensor) -> Tensor:
        """Which examples one of 100 random points of the ball fools: bool (M,)."""
        found = torch.zeros_like(y, dtype=torch.bool)
        for _ in range(DRAWS // 2):
            direction = torch.randn(x.shape, generator=self.generator, device=x.device)
            surface = self.threat.step(x, direction, x, self.threat.eps)
            for point in (self.threat.random_start(x, self.generator), surface):
                found |= fooled(self.logits(point), y)
        return found


@contextmanager
def counted_autograd() -> Iterator[Callable[[], int]]:
    """Count the calls of ``torch.autograd.grad`` and ``backward``, under whatever name, in this thread."""
    bodies = {torch.autograd.grad.__code__, torch.autograd.backward.__code__}
    count, before = 0, sys.getprofile()

    def see(frame: FrameType, event: str, _: object) -> None:
        nonlocal count
        count += event == "call" and frame.f_code in bodies

    sys.setprofile(see)
    try:
        yield lambda: count
    finally:
        sys.setprofile(before)


def fooled(logits: Tensor, y: Tensor) -> Tensor:
    """Where the prediction is not the label, or is no number: bool (N,)."""
    return (logits.argmax(1) != y) | logits.isnan().any(1)


def spread(outputs: Tensor) -> float:
    """The largest distance between the normalised outputs (R, N, K) of two of R passes; AutoAttack's measure."""
    unit = F.normalize(outputs.flatten(2), dim=2)
    return max(float((one - other).norm(dim=1).max()) for one in unit for other in unit)


def otherwise(wanted: Tensor, outputs: Tensor) -> Tensor:
    """Where the logits are others with a gradient ``wanted`` (N, K) than in R passes ``outputs`` without: bool (N,).

    The normalised logits lie further from those of every pass than twice the largest distance between two of these,
    and 0.01 for rounding: a model that is random at these images is not accused of more than that.
    """
    passes, other = (F.normalize(each.nan_to_num(), dim=-1) for each in (outputs, wanted))
    own = torch.stack([(one - passes).norm(dim=2).amax(0) for one in passes]).amax(0)
    nearest: Tensor = (passes - other).norm(dim=2).amin(0)
    return nearest > 2 * own + ROUNDING


def depends_on_company(paired: Tensor, outputs: Tensor) -> Tensor:
    """Where logits in pairs (N, K) are others than in R passes ``outputs`` (R, N, K) in one batch: bool (N,).

    By more than twice what two of these passes differ by, and a hundredth of the logits' spread for rounding.
    """
    own = torch.stack([(one - outputs).abs().amax((0, 2)) for one in outputs]).amax(0)
    nearest: Tensor = (outputs - paired).abs().amax(2).amin(0)
    return nearest > 2 * own + ROUNDING * float(outputs.std())


def are_distributions(outputs: Tensor) -> bool:
    """Whether the outputs (N, K) lie in [0, 1] and sum to 1, to within 1e-5; AutoAttack's measure."""
    in_range = (outputs > -1e-5) & (outputs < 1 + 1e-5)
    return bool(in_range.all() and ((outputs.sum(1) - 1).abs() < 1e-5).all())


def zero(seen: Look) -> Tensor:
    """Where no coordinate of the gradient is a number other than zero: bool (M,)."""
    return ~seen.gradient.flatten(1).any(1)


def cosine(one: Look, other: Look) -> Tensor:
    """The cosine (M,) of the gradients of two looks, in [-1, 1]; 1 where neither has any."""
    value = F.cosine_similarity(one.gradient.double().flatten(1), other.gradient.double().flatten(1), eps=1e-100)
    return value.masked_fill(zero(one) & zero(other), 1.0)


def loss_noise(clean: Look, near: Look, trace: Trace) -> Tensor:
    """``c / (c + r)`` (M,): c is how far the loss differs between two looks, r how much the attack raised it."""
    before = clean.values.nan_to_num()
    change = (near.values.nan_to_num() - before).abs()
    return change / (change + (trace.loss.amax(0) - before).clamp(min=0) + VANISHING)


def renamed(predicted: Tensor, y: Tensor, classes: int) -> float:
    """The accuracy of the predictions (N,) if each of the classes had the name that suits the labels (N,) best.

    The assignment problem on the confusion matrix; more classes than examples, and any prediction could be named right.
    """
    if len(y) < 2 * classes or int(y.max()) >= classes:
        return 0.0
    confusion = torch.bincount(y * classes + predicted, minlength=classes**2).view(classes, classes).cpu()
    rows, columns = linear_sum_assignment(confusion.numpy(), maximize=True)
    return float(confusion[rows, columns].sum()) / len(y)
