"""FAB: the fast adaptive boundary attack. It walks along the decision boundary and looks for its nearest point.

Croce & Hein 2020, https://arxiv.org/abs/1907.02044, algorithm 1, targeted, without random starts.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from harness.api.threat import Threat
from harness.attacks.search.found import Claim, Confirm, Found, shaped
from harness.compute.gradients import input_gradient
from harness.compute.modes import ending_exactly

# x_adv (M, C, H, W) and the positions (M,) of its examples in the batch, to the difference (M,) between the logit
# of the target and that of the label, and which of them seem to fool the model.
Difference = Callable[[Tensor, Tensor], tuple[Tensor, Claim]]

_OVERSHOOT = 1.05
_TOWARDS_ORIGINAL = 0.1
_BACKWARD = 0.9
_TINY = 1e-12


def fab(
    difference: Difference,
    x: Tensor,
    threat: Threat,
    *,
    steps: int = 100,
    group: Tensor | None = None,
    confirm: Confirm | None = None,
) -> tuple[Tensor, Tensor]:
    """Step onto the linearised boundary ``difference = 0``, again and again, drawn back to ``x``.

    An example that is fooled within the ball drops out, and with it the other tries at the same image: those of the
    same number in ``group`` (N,). ``confirm`` is asked about doubtful claims. Where a GPU rounds to TF32 the last tenth
    of the steps is done in float32.

    Returns:
        ``x_adv`` (N, C, H, W) in [0, 1], the images themselves where nothing was found in the ball; and ``fooled``,
        bool (N,).
    """
    found = Found(x, confirm, group)
    rows, x_adv = found.everyone, x.clone()
    with ending_exactly(steps, x.device) as at_step:
        for k in range(steps):
            if not len(rows):
                break
            at_step(k)
            value, gradient = _linearised(difference, x_adv, rows)
            x_adv = _step(x_adv, x[rows], value, gradient, threat)
            with torch.no_grad():
                _, claim = difference(x_adv, rows)
            found.note(rows, x_adv, claim._replace(wrong=claim.wrong & threat.contains(x[rows], x_adv)))
            back = x[rows] + _BACKWARD * (x_adv - x[rows])
            x_adv = torch.where(shaped(claim.wrong, x_adv), back, x_adv)
            if found.due:
                standing = found.standing(rows)
                rows, x_adv = rows[standing], x_adv[standing]
    found.leave(rows, x[rows])
    return found.x_adv, found.fooled


def _linearised(difference: Difference, x_adv: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        x_adv = x_adv.detach().requires_grad_()
        value, _ = difference(x_adv, rows)
        gradient = input_gradient(value.sum(), x_adv)
    return value.detach(), gradient


def _step(x_adv: Tensor, x: Tensor, value: Tensor, gradient: Tensor, threat: Threat) -> Tensor:
    """Equation 9: the projections of the iterate and of the image, overshot and mixed by their lengths."""
    w = gradient.flatten(1)
    start, origin = x_adv.flatten(1), x.flatten(1)
    offset = (w * start).sum(1) - value
    points = torch.cat([start, origin])
    delta = to_hyperplane(points, w.repeat(2, 1), offset.repeat(2), threat.norm)
    lengths = (delta.abs().amax(1) if threat.norm == "Linf" else delta.norm(dim=1)).clamp(min=1e-8)
    near, far = lengths.chunk(2)
    share = (near / (near + far)).clamp(max=_TOWARDS_ORIGINAL)[:, None]
    forward, back = (points + _OVERSHOOT * delta).chunk(2)
    return ((1 - share) * forward + share * back).clamp(0, 1).view_as(x)


def to_hyperplane(points: Tensor, w: Tensor, offset: Tensor, norm: str) -> Tensor:
    """The shortest step from each of ``points`` (N, D) in [0, 1] onto ``<w, z> = offset``, staying in [0, 1].

    ``w`` is (N, D), ``offset`` (N,). Where the box keeps the plane out of reach, as near to it as the box allows.
    Coordinate i goes ``min(t * b_i, room_i)`` the right way, with b_i = 1 (Linf) or ``|w_i|`` (L2), room_i being its
    way to the bound; the plane's side is a piecewise linear, rising function of t, solved by sorting its corners.
    """
    scale = w.abs().amax(1).clamp(min=1e-30)  # a saturated model's gradient may be as small as it likes
    w, offset = w / scale[:, None], offset / scale
    gap = offset - (w * points).sum(1)
    way = w.sign() * gap.sign()[:, None]
    room = torch.where(way > 0, 1 - points, points)
    speed = torch.ones_like(w) if norm == "Linf" else w.abs()
    gain = w.abs() * speed
    corner, order = torch.where(gain > 0, room / (speed + _TINY), 0.0).sort(1)
    gain = gain.gather(1, order)
    rate = gain.sum(1, keepdim=True) - gain.cumsum(1) + gain  # of the coordinates that still move before a corner
    widths = torch.diff(corner, dim=1, prepend=torch.zeros_like(corner[:, :1]))
    reached = (rate * widths).cumsum(1)
    want = gap.abs()[:, None]
    at = (reached < want).sum(1, keepdim=True).clamp(max=w.shape[1] - 1)
    short = (reached.gather(1, at) - want).clamp(min=0) / (rate.gather(1, at) + _TINY)
    t = corner.gather(1, at) - short
    return way * torch.minimum(t * speed, room)
