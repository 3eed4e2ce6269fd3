"""Square: random search with squares of shrinking size. It needs no gradient, so a masked one cannot mislead it.

Andriushchenko et al. 2020, https://arxiv.org/abs/1912.00049, algorithms 1 to 3, with AutoAttack's schedule of sizes.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from harness.api.threat import Threat
from harness.attacks.search.square_moves import moves_for
from harness.compute.modes import ending_exactly

# Images (M, C, H, W) and the positions (M,) of their examples in the batch, to the margins (M,), which are negative
# where the model is right (:func:`harness.attacks.losses.margin`), and whether the model is fooled, bool (M,).
Margins = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

_SHARE = 0.8
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def square(
    margins: Margins, x: Tensor, threat: Threat, *, generator: torch.Generator, queries: int = 5000
) -> tuple[Tensor, Tensor]:
    """Look at ``queries`` random squares in turn and keep each that brings the model nearer to an error.

    All examples are offered the same square; one that the model gets wrong drops out. A square that would change
    nothing, or that was turned down before while the example was as it is, costs no forward pass: a deterministic
    model would answer as before. In low precision the last tenth of the queries is made in float32.

    Returns:
        ``x_adv`` (N, C, H, W) in the ball and in [0, 1], and ``fooled``, bool (N,).
    """
    moves = moves_for(threat, x, generator)
    x_adv, fooled = moves.start(), torch.zeros(len(x), dtype=torch.bool, device=x.device)
    rows = torch.arange(len(x), device=x.device)
    best, wrong = margins(x_adv, rows)
    fooled |= wrong
    rows = rows[~wrong]
    with torch.no_grad(), ending_exactly(queries, x.device) as at_step:
        for query in range(queries):
            if not len(rows):
                break
            if at_step(query):
                best[rows], wrong = margins(x_adv[rows], rows)
                fooled[rows] = wrong
                rows = rows[~wrong]
                moves.forget()
            moved = moves.propose(x_adv, rows, _side(query, x))
            if not len(moved.rows):
                continue
            margin, wrong = margins(moved.x, moved.rows)
            better = (margin > best[moved.rows]) | wrong
            moves.settle(x_adv, moved, better)
            gained = moved.rows[better]
            best[gained] = margin[better]
            if bool(wrong.any()):
                fooled[moved.rows[wrong]] = True
                rows = rows[~fooled[rows]]
    return x_adv, fooled


def _side(query: int, x: Tensor) -> float:
    """The square root of the share of the image's area that the square of this query should cover, in pixels."""
    share = _SHARE / 2 ** sum(query > limit for limit in _HALVINGS)
    return math.sqrt(share * x.shape[-1] * x.shape[-2])
