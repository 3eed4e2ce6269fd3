"""What a few images show of a model: its output, and the gradient of the gap between two logits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from harness.api.threat import Threat
from harness.compute import randomness
from harness.compute.gradients import Look, finite
from harness.compute.memory import attempt
from harness.views.standins import Noise
from harness.views.trace.ledger import graft

_FLOAT_NOISE = 1e-3
_TINY = 1e-12
_MOVES = 8
# Of a pixel, in units of the image.
_SMALLEST_MOVE, _LARGEST_MOVE = 1e-5, 0.05


def look(view: nn.Module, x: Tensor, pair: Tensor | None = None) -> Look | None:
    """Differentiate the gap between the logits of the classes ``pair`` (N, 2), by default the two largest.

    None if the view fails, or its output is not finite logits (N, K) with K >= 2.
    """
    images = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        return attempt(lambda: measured(view(images), images, pair))


def measured(logits: Tensor, images: Tensor, pair: Tensor | None = None, *, keep: bool = False) -> Look | None:
    """:func:`look` on an output that is already there; ``keep`` its graph for another look."""
    if not is_logits(logits, len(images)):
        return None
    chosen = logits.detach().float().topk(2, 1).indices if pair is None else pair

    def gap(output: Tensor) -> Tensor:
        both = output.gather(1, chosen)
        return both[:, 0] - both[:, 1]

    return Look.of(logits, images, gap, keep=keep)


def is_logits(output: object, examples: int) -> bool:
    """Whether this is a finite floating tensor (N, K) with K >= 2."""
    if not isinstance(output, Tensor) or output.dim() != 2 or not output.is_floating_point():
        return False
    return len(output) == examples and output.shape[1] >= 2 and bool(output.isfinite().all())


def same_output(one: Tensor, other: Tensor) -> bool:
    """Whether two outputs (N, K) differ by no more than rounding does."""
    return one.shape == other.shape and float((one - other).abs().max()) <= _FLOAT_NOISE * float(one.std() + 1e-6)


def agreement(one: Look, other: Look) -> float:
    """The mean cosine of two gradients, over the images that have both; 1 if none has."""
    both = one.alive & other.alive
    if not both.any():
        return 1.0
    a, b = (each.gradient[both].flatten(1).double() for each in (one, other))
    return float(torch.cosine_similarity(a, b, dim=1).mean())


def foretold(view: nn.Module, x: Tensor, pair: Tensor, threat: Threat) -> float:
    """How well the gradient foretells what small moves do to the output: their correlation, 1 for a linear view.

    Each image is moved both ways along 8 random directions, by a tenth of the radius as far as that is no less than
    rounding hides and no more than a gradient can speak of. The output is the gap between the logits of the classes
    ``pair`` (N, 2) in units of their spread, if there are more: their scale fools nobody.
    What a gradient leaves out or turns round lowers the correlation; one that is no number foretells nothing. 1 where
    no image has a gradient.
    """

    def gap(images: Tensor) -> Tensor:
        logits = view(images).float()
        chosen = logits.gather(1, pair)
        spread = logits.std(1) + _TINY if logits.shape[1] > 2 else 1.0
        in_spreads: Tensor = (chosen[:, 0] - chosen[:, 1]) / spread
        return in_spreads

    images = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        before = gap(images)
        gradient = torch.autograd.grad(before.sum(), images, allow_unused=True)[0] if before.requires_grad else None
    if gradient is None or not finite(gradient).any():
        return 1.0
    promised, change = [], []
    side = 1.0 if threat.norm == "Linf" else x[0].numel() ** 0.5
    size = min(max(0.1 * threat.eps, _SMALLEST_MOVE * side), _LARGEST_MOVE * side)
    draws = torch.Generator().manual_seed(0)
    for _ in range(_MOVES):
        signs = (torch.randint(2, x.shape, generator=draws) * 2 - 1).to(x)
        step = size * threat.direction(signs)
        there, back = (x + step).clamp(0, 1), (x - step).clamp(0, 1)
        promised.append(((there - back) * finite(gradient)).flatten(1).sum(1))
        with torch.no_grad():
            change.append(gap(there) - gap(back))
    both = torch.stack([torch.cat(promised), torch.cat(change).nan_to_num(0.0, 0.0, 0.0)]).double()
    return float(torch.corrcoef(both)[0, 1].nan_to_num(0.0))


def multiple(one: Tensor, other: Tensor) -> bool:
    """Whether two outputs (N, K) are constant multiples of each other, apart from a constant per image."""
    a, b = ((z - z.mean(1, keepdim=True)).double().flatten() for z in (one.detach(), other.detach()))
    return a.shape == b.shape and float(torch.cosine_similarity(a, b, dim=0)) > 1 - 1e-6


def noise_within(threat: Threat, part: float) -> Noise:
    """Uniform noise of up to ``part`` times eps per pixel (Linf), or Gaussian noise of about that length (L2).

    The images stay in [0, 1]; the gradient passes as if by the identity.
    """

    def noisy(x: Tensor) -> Tensor:
        linf = threat.norm == "Linf"
        noise = 2 * torch.rand_like(x) - 1 if linf else torch.randn_like(x) / x[0].numel() ** 0.5
        return graft((x.detach() + part * threat.eps * noise).clamp(0, 1), x)

    return noisy


@contextmanager
def kept_buffers(model: nn.Module) -> Iterator[None]:
    """Give the model's buffers their values back, should its forward pass change them even in evaluation mode."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in before:
                if not torch.equal(buffer, value):
                    buffer.copy_(value)


@contextmanager
def kept_randomness(generator: torch.Generator) -> Iterator[Callable[[], None]]:
    """Seed all global randomness by one draw from ``generator``, then give its states back.

    What is yielded starts the same randomness again, for two passes with the same draws.
    """
    seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    with randomness.kept():
        randomness.start(seed)
        yield lambda: randomness.start(seed)
