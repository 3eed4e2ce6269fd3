"""What attacks raise: per-example losses over logits (N, K) with labels (N,), larger the more wrong; each is (N,)."""

import torch.nn.functional as F
from torch import Tensor

_TINY = 1e-12


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """``log sum_j exp(z_j) - z_y``, in float32."""
    return F.cross_entropy(logits.float(), y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """``max_{j != y} z_j - z_y``: positive exactly where the prediction is wrong.

    Carlini & Wagner 2017, https://arxiv.org/abs/1608.04644, the negative of f_6 for the untargeted case.
    """
    return _best_other(logits, y) - _of(logits, y)


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """The difference of logits ratio ``(max_{j != y} z_j - z_y) / (z_(1) - z_(3))``; needs K >= 3.

    It ignores the scale of the logits. Croce & Hein 2020, https://arxiv.org/abs/2003.01690, equation 6.
    """
    top = logits.topk(3, dim=1).values
    return margin(logits, y) / (top[:, 0] - top[:, 2] + _TINY)


def targeted_dlr(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """``(z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2)`` for the class ``target`` (N,); needs K >= 4.

    Croce & Hein 2020, https://arxiv.org/abs/2003.01690, equation 7.
    """
    top = logits.topk(4, dim=1).values
    return difference(logits, y, target) / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + _TINY)


def difference(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """``z_t - z_y`` for the class ``target`` (N,)."""
    return _of(logits, target) - _of(logits, y)


def ranked(logits: Tensor, y: Tensor, rank: int) -> Tensor:
    """The class (N,) that comes ``rank``-th, from 1, by its logit among all but the label."""
    order: Tensor = logits.scatter(1, y[:, None], float("-inf")).sort(dim=1, descending=True, stable=True).indices
    return order[:, rank - 1]


def _of(logits: Tensor, y: Tensor) -> Tensor:
    return logits.gather(1, y[:, None])[:, 0]


def _best_other(logits: Tensor, y: Tensor) -> Tensor:
    return logits.scatter(1, y[:, None], float("-inf")).max(1).values
