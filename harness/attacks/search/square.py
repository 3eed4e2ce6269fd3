"""Square: random search with squares of shrinking size. It needs no gradient, so a masked one cannot mislead it.

Andriushchenko et al. 2020, https://arxiv.org/abs/1912.00049, algorithms 1 to 3, with AutoAttack's schedule of sizes.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from harness.api.threat import Threat
from harness.attacks.search.found import Claim, Confirm, Found
from harness.attacks.search.square_moves import moves_for
from harness.compute.modes import ending_exactly

# Images (M, C, H, W) and the positions (M,) of their examples in the batch, to the margins (M,), which are negative
# where the model is right (:func:`harness.attacks.losses.margin`), and which of them seem to fool the model.
Margins = Callable[[Tensor, Tensor], tuple[Tensor, Claim]]

_SHARE = 0.8
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def square(
    margins: Margins,
    x: Tensor,
    threat: Threat,
    *,
    generator: torch.Generator,
    queries: int = 5000,
    confirm: Confirm | None = None,
) -> tuple[Tensor, Tensor]:
    """Look at ``queries`` random squares in turn and keep each that brings the model nearer to an error.

    All examples are offered the same square; one that the model gets wrong drops out. A square that would change
    nothing, or that was turned down before while the example was as it is, costs no forward pass, except on a GPU: a
    deterministic model would answer as before. ``confirm`` is asked about doubtful claims. In low precision the last
    tenth of the queries is made in float32.

    Returns:
        ``x_adv`` (N, C, H, W) in the ball and in [0, 1], and ``fooled``, bool (N,).
    """
    moves = moves_for(threat, x, generator)
    x_adv = moves.start()
    found = Found(x_adv, confirm)
    best, claim = margins(x_adv, found.everyone)
    found.note(found.everyone, x_adv, claim)
    rows = found.standing(found.everyone)
    with torch.no_grad(), ending_exactly(queries, x.device) as at_step:
        for query in range(queries):
            if not len(rows):
                break
            if at_step(query):
                best[rows], claim = margins(x_adv[rows], rows)
                found.note(rows, x_adv[rows], claim)
                rows = rows[found.standing(rows)]
                moves.forget()
            moved = moves.propose(x_adv, rows, _side(query, x))
            if not len(moved.rows):
                continue
            margin, claim = margins(moved.x, moved.rows)
            better = margin > best[moved.rows]
            best[moved.rows] = torch.where(better, margin, best[moved.rows])
            moves.settle(x_adv, moved, better)
            found.note(moved.rows, moved.x, claim)
            if found.due:
                rows = rows[found.standing(rows)]
    found.leave(rows, x_adv[rows])
    return found.x_adv, found.fooled


def _side(query: int, x: Tensor) -> float:
    """The square root of the share of the image's area that the square of this query should cover, in pixels."""
    share = _SHARE / 2 ** sum(query > limit for limit in _HALVINGS)
    return math.sqrt(share * x.shape[-1] * x.shape[-2])
