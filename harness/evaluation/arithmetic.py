"""The precision that a search computes in: the faster one, if the model shows in it what float32 shows."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.api.attack import Views
from harness.api.specs import Precision
from harness.api.threat import Threat
from harness.attacks.losses import margin
from harness.attacks.search.searches import is_aimed
from harness.compute import randomness
from harness.compute.gradients import input_gradient
from harness.compute.memory import attempt, fitting
from harness.compute.modes import computing_in, evaluating, exact_float32, frozen, is_rough
from harness.compute.precision import preferred, speedup

_COSINE = 0.9
_ERROR = 0.5
_IMAGES = 0.9
_STEP = 0.25  # of eps: a default step of PGD
_AT_ONCE = 2  # images, since memory may be short
_SMALL = 1_000_000  # parameters

Arithmetic = Callable[[], AbstractContextManager[object]]


def faster_precision(model: nn.Module, batch: Callable[[int], tuple[Tensor, Tensor]], batch_size: int) -> Precision:
    """The precision in which a search on the model is faster here; ``batch(size)`` are images and labels to try it on.

    Timed on the model itself, the gradient of the margin: what a device gains on convolutions says little of other
    layers. Where low precision fails, it is not faster. A model of fewer than a million parameters is searched in
    float32 everywhere: in a small batch it gains nothing, and its numbers, those of digits and MNIST among them, should
    not hang on a stopwatch.
    """
    if sum(parameter.numel() for parameter in model.parameters()) < _SMALL:
        return "float32"

    def measured(size: int) -> float:
        x, y = batch(size)
        return speedup(lambda images: _margin(model, x[:images], y[:images]), len(x), x.device)

    found, _ = fitting(lambda size: attempt(lambda: measured(size)), batch_size)
    return preferred(found or 0.0)


def search_arithmetic(
    model: nn.Module, views: Views, x: Tensor, y: Tensor, threat: Threat, precision: Precision
) -> Arithmetic:
    """``precision`` as a context to search in, or exact float32 where the precision would hide the way.

    At random points of the balls around images ``x`` (N, C, H, W) with labels ``y`` (N,), the model and each of its
    stand-ins must show the same in both, on nine images of ten: the margin's gradients have a cosine of at least 0.9,
    and the change of the margin along a step of eps / 4 differs by no more than half of it. A common offset of the
    logits, say, leaves their gradient as it is and drowns their differences; so does rounding the image where eps is
    small. Where float32 has no gradient there is nothing to hide. A model that fails in low precision is searched in
    float32.
    """
    wanted = partial(computing_in, precision, x.device)
    with wanted():
        if not is_rough(x.device):
            return wanted
    exact = partial(exact_float32, x.device)
    start = threat.random_start(x, randomness.generator("rounding", device=x.device))
    batches = list(zip(*(torch.split(part, _AT_ONCE) for part in (x, start, y)), strict=True))
    for each in (model, *views.values()):
        try:
            seen = [
                _shows_the_same(each, images, begin, labels, threat, wanted, exact) for images, begin, labels in batches
            ]
        except torch.OutOfMemoryError:
            raise
        except Exception:
            return exact
        if torch.cat(seen).float().mean() < _IMAGES:
            return exact
    return wanted


def _shows_the_same(
    model: nn.Module, x: Tensor, start: Tensor, y: Tensor, threat: Threat, wanted: Arithmetic, exact: Arithmetic
) -> Tensor:
    with exact():
        before, gradient = _margin(model, start, y)
        moved = threat.step(start, gradient, x, _STEP * threat.eps)
        change = _margin(model, moved, y)[0] - before
    with wanted():
        before, rough = _margin(model, start, y)
        rough_change = _margin(model, moved, y)[0] - before
    cosine = F.cosine_similarity(gradient.flatten(1), rough.flatten(1))
    followed = (cosine >= _COSINE) | (gradient.flatten(1) == 0).all(1)
    return followed & ((rough_change - change).abs() <= _ERROR * change.abs())


def _margin(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Values (N,) and gradients (N, ...); a random model draws the same every time."""
    with evaluating(model), frozen(model), randomness.seeded("rounding"), torch.enable_grad():
        x = x.detach().requires_grad_()
        logits = model(x, y) if is_aimed(model) else model(x)
        value = margin(logits.float(), y)
        return value.detach(), input_gradient(value.sum(), x)
