"""Whether a search may compute in low precision: only on a model of which that shows what float32 shows."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness import randomness
from harness.attacks.base import input_gradient
from harness.attacks.losses import margin
from harness.modes import computing_in, evaluating, exact_float32, frozen, is_rough
from harness.specs import Precision
from harness.threat import Threat

_COSINE = 0.9
_ERROR = 0.5
_STEP = 0.25  # of eps: a default step of PGD

Arithmetic = Callable[[], AbstractContextManager[object]]


def search_arithmetic(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, precision: Precision) -> Arithmetic:
    """``precision`` as a context to search in, or exact float32 where the precision would hide the way.

    At random points of the balls around images ``x`` (N, C, H, W) with labels ``y`` (N,), both must see the same: the
    margin's gradients have a mean cosine of at least 0.9, and the change of the margin along one step differs by no
    more than half of it, on average. A common offset of the logits, say, leaves their gradient as it is and drowns
    their differences. Trained networks have 0.98 and more, and 0.2 and less.
    """
    wanted = partial(computing_in, precision, x.device)
    exact = partial(exact_float32, x.device)
    with evaluating(model), frozen(model), randomness.kept():
        start = threat.random_start(x, randomness.generator("rounding", device=x.device))
        with exact():
            value, gradient = _margin(model, start, y)
            moved = threat.step(start, gradient, x, _STEP * threat.eps)
            change = _margin(model, moved, y)[0] - value
        with wanted():
            if not is_rough(x.device):
                return wanted
            value, rough = _margin(model, start, y)
            rough_change = _margin(model, moved, y)[0] - value
    cosine = F.cosine_similarity(gradient.flatten(1), rough.flatten(1)).mean()
    error = (rough_change - change).abs().mean()
    return wanted if cosine >= _COSINE and error <= _ERROR * change.abs().mean() else exact


def _margin(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = margin(model(x).float(), y)
        return value.detach(), input_gradient(value.sum(), x)
