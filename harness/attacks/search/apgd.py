"""Auto-PGD: ascent with momentum whose step size halves itself where progress stops.

Croce & Hein 2020, "Reliable evaluation of adversarial robustness", https://arxiv.org/abs/2003.01690, algorithm 1.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from harness.api.threat import Threat
from harness.attacks.search.found import Claim, Confirm, Found, shaped
from harness.compute.gradients import input_gradient
from harness.compute.modes import exact_float32, exact_steps

# x_adv (M, ...) and the positions (M,) of its examples in the batch, to their loss (M,) and which of them seem to fool
# the model that is under attack.
Objective = Callable[[Tensor, Tensor], tuple[Tensor, Claim]]

_MOMENTUM = 0.75
_PROGRESS = 0.75
_KEEP = 0.75


@dataclass
class _State:
    """What is known of each of the M examples that still stand; each tensor has M rows."""

    rows: Tensor
    x: Tensor
    x_adv: Tensor
    previous: Tensor
    gradient: Tensor
    loss: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    checked_loss: Tensor
    rises: Tensor
    halved: Tensor
    size: Tensor

    def keep(self, which: Tensor) -> "_State":
        return _State(**{field.name: getattr(self, field.name)[which] for field in fields(self)})


def apgd(
    objective: Objective,
    x: Tensor,
    threat: Threat,
    *,
    start: Tensor,
    steps: int = 100,
    group: Tensor | None = None,
    confirm: Confirm | None = None,
) -> tuple[Tensor, Tensor]:
    """Raise the objective's loss from ``start``, each example with its own step size (initially 2 eps).

    The first iterate that fools the model is an example's result, and the example drops out; any other's result is its
    iterate of highest loss. The objective need not differentiate the model that it judges by: it may follow a
    stand-in. Modes and frozen parameters are the caller's business. ``group`` (N,) numbers the examples that are
    tries at the same image: once one of them has fooled the model, the others drop out too, with no result of their
    own. ``confirm`` is asked about doubtful claims. In low precision the last tenth of the steps is a search of its own
    in float32, from the best iterates and with large steps again.

    Returns:
        ``x_adv`` (N, ...) in the ball and in [0, 1], and ``fooled``, bool (N,).
    """
    found, exact = Found(threat.project(start, x), confirm, group), exact_steps(steps, x.device)
    _ascend(objective, x, threat, found, steps - exact)
    if exact:
        with exact_float32(x.device):
            _ascend(objective, x, threat, found, exact)
    return found.x_adv, found.fooled


def _ascend(objective: Objective, x: Tensor, threat: Threat, found: Found, steps: int) -> None:
    """Go on from what was found, for every example of whose group none has fooled the model."""

    def look(x_adv: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        loss, gradient, claim = _evaluate(objective, x_adv, rows)
        found.note(rows, x_adv, claim)
        return loss, gradient

    rows = found.standing(found.everyone)
    if not len(rows):
        return
    x_adv = found.x_adv[rows]
    state = _initial(rows, x[rows], x_adv, *look(x_adv, rows), threat.eps)
    checkpoints, since = _checkpoints(steps), 0
    for k in range(1, steps + 1):
        if found.due:
            standing = found.standing(state.rows)
            if len(standing) <= _KEEP * len(state.rows):
                state = state.keep(standing)
        if not len(state.rows):
            break
        _move(state, threat, 1.0 if k == 1 else _MOMENTUM)
        _record(state, *look(state.x_adv, state.rows))
        since += 1
        if k in checkpoints:
            _adapt(state, since)
            since = 0
    found.leave(state.rows, state.best)


def _evaluate(objective: Objective, x_adv: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Claim]:
    with torch.enable_grad():
        x_adv = x_adv.detach().requires_grad_()
        loss, claim = objective(x_adv, rows)
        gradient = input_gradient(loss.sum(), x_adv)
    return loss.detach().float(), gradient, claim


def _initial(rows: Tensor, x: Tensor, x_adv: Tensor, loss: Tensor, gradient: Tensor, eps: float) -> _State:
    return _State(
        rows=rows,
        x=x,
        x_adv=x_adv,
        previous=x_adv,
        gradient=gradient,
        loss=loss,
        best=x_adv,
        best_gradient=gradient,
        best_loss=loss,
        checked_loss=loss,
        rises=torch.zeros_like(loss),
        halved=torch.ones_like(loss, dtype=torch.bool),
        size=torch.full_like(loss, 2 * eps),
    )


def _move(state: _State, threat: Threat, momentum: float) -> None:
    """Equations 1 and 2 of the paper: a projected step, blended with the previous one."""
    target = threat.project(state.x_adv + shaped(state.size, state.x) * threat.direction(state.gradient), state.x)
    blend = momentum * (target - state.x_adv) + (1 - momentum) * (state.x_adv - state.previous)
    state.previous, state.x_adv = state.x_adv, threat.project(state.x_adv + blend, state.x)


def _record(state: _State, loss: Tensor, gradient: Tensor) -> None:
    state.rises += loss > state.loss
    state.loss, state.gradient = loss, gradient
    better = loss > state.best_loss
    state.best_loss = torch.where(better, loss, state.best_loss)
    better = shaped(better, gradient)
    state.best = torch.where(better, state.x_adv, state.best)
    state.best_gradient = torch.where(better, gradient, state.best_gradient)


def _adapt(state: _State, since: int) -> None:
    """Conditions 1 and 2 of the paper's section 3.2: halve the step and go back to the best point."""
    stuck = ~state.halved & (state.checked_loss >= state.best_loss)
    halve = (state.rises <= _PROGRESS * since) | stuck
    state.size = torch.where(halve, state.size / 2, state.size)
    back = shaped(halve, state.x)
    state.x_adv = torch.where(back, state.best, state.x_adv)
    state.gradient = torch.where(back, state.best_gradient, state.gradient)
    state.halved, state.checked_loss = halve, state.best_loss
    state.rises = torch.zeros_like(state.rises)


def _checkpoints(steps: int) -> set[int]:
    """The steps at which progress is judged: fractions 0, 0.22, then gaps shorter by 0.03 each, at least 0.06."""
    gap, decrease, shortest = (max(int(part * steps), 1) for part in (0.22, 0.03, 0.06))
    found, at = set(), gap
    while at <= steps:
        found.add(at)
        gap = max(gap - decrease, shortest)
        at += gap
    return found
