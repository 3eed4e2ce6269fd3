"""Which examples of a batch are contrasted with which: the negatives of ANCRA.

Zhou et al. 2023, https://arxiv.org/abs/2310.03358. All draws are vectorised over the batch and wait for no device:
where an anchor has fewer than ``count`` examples of another class, the rest of its row are examples of its own
class, which the caller leaves out (``y[index] != y[:, None]`` tells them apart).
"""

from collections.abc import Callable

import torch
from torch import Tensor

# Predictions (N,) and labels (N,) to which examples (columns) are candidates for which anchors (rows): (N, N).
_CANDIDATES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "soft": lambda predicted, y: predicted == predicted[:, None],
    "hard": lambda predicted, y: predicted == y[:, None],
    "easy": lambda predicted, y: (predicted != predicted[:, None]) & (predicted != y[:, None]),
}
STRATEGIES = ("random", *_CANDIDATES)


def sample_random(y: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """For each anchor a uniformly random other class present in ``y`` (N,), then a uniformly random member of it.

    Returns indices (N, min(count, N)), distinct in each row; further ones are drawn from what is left, with the same
    weights. ``generator`` lives on the device of ``y``.
    """
    return _first(_random_keys(y, generator), count)


def sample_ranked(strategy: str, logits: Tensor, y: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """For each anchor the candidates of another class with the highest logit of the anchor's label.

    The candidates are predicted as the anchor is predicted (``soft``), as the anchor's label (``hard``) or as neither
    (``easy``), by the ``logits`` (N, K). Where there are fewer than ``count``, :func:`sample_random` goes on.
    Returns indices (N, min(count, N)), distinct in each row.
    """
    others = y != y[:, None]
    candidates = _CANDIDATES[strategy](logits.argmax(1), y) & others
    rank = logits[:, y].T.argsort(dim=1, stable=True).argsort(1)
    keys = _random_keys(y, generator)
    return _first(torch.where(candidates, 2 + rank, keys / (1 + keys)), count)


def _random_keys(y: Tensor, generator: torch.Generator) -> Tensor:
    """Keys (N, N) whose descending order in a row is a weighted draw without replacement; 0 within a class.

    The weight of an example is one over the size of its class; weight over an Exp(1) variate is the key
    (Efraimidis & Spirakis 2006, https://doi.org/10.1016/j.ipl.2005.11.003).
    """
    same = y == y[:, None]
    weights = torch.where(same, 0.0, 1.0 / same.sum(1))
    uniform = torch.rand(weights.shape, generator=generator, device=y.device).clamp(min=1e-10)
    return weights / -uniform.log()


def _first(keys: Tensor, count: int) -> Tensor:
    return keys.topk(min(count, len(keys)), dim=1).indices
