"""AutoAttack, the standard version, through pyautoattack: quiet, seeded, and leaving no trace behind.

Croce & Hein 2020, https://arxiv.org/abs/2003.01690.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import pyautoattack
import torch
from pyautoattack import checks
from torch import Tensor, nn

from harness.api.attack import Proposal, Views, attack
from harness.api.threat import Threat
from harness.compute import randomness
from harness.compute.modes import evaluating, exact_float32, frozen

_LOGGER = logging.getLogger("auto-attack")


class Stage(NamedTuple):
    """After one of AutoAttack's attacks: its name, the examples so far (N, ...), and which still stand, bool (N,)."""

    name: str
    x_adv: Tensor
    robust: Tensor


@attack("autoattack-reference")
@dataclass(frozen=True, kw_only=True)
class AutoAttackReference:
    """The standard version: APGD-CE, APGD-T, FAB-T and Square, each on what the one before left standing.

    With fewer than ten classes the targeted attacks take all K - 1 targets. The targeted DLR loss needs four classes:
    with three APGD uses the untargeted one instead, with two the cross-entropy alone (there it follows the margin).
    """

    summary: ClassVar[str] = "AutoAttack standard by its authors' own code (pyautoattack)"

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, generator: torch.Generator, views: Views
    ) -> Proposal:
        """See :class:`harness.api.attack.Attack`; one draw from ``generator`` seeds all four attacks."""
        seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
        x_adv, part, names = x, torch.full_like(y, -1), list[str]()
        with exact_float32(x.device):  # its searches know of no other precision, and believe what they see
            for stage in stages(model, x, y, threat, seed=seed):
                x_adv = stage.x_adv
                part[~stage.robust & (part < 0)] = len(names)
                names.append(stage.name)
        return Proposal(x_adv, part, tuple(names))


def stages(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, seed: int) -> Iterator[Stage]:
    """Run AutoAttack's attacks on images ``x`` (N, C, H, W), labels ``y`` (N,), yielding after each one.

    The verdicts are those of pyautoattack's own ``run_standard_evaluation`` with this seed and one batch. The model
    must be one that autograd can differentiate (:func:`harness.views.attackable.attackable`).
    """
    x = x.contiguous()  # pyautoattack flattens with ``view``
    x_adv = x.clone()
    with evaluating(model), torch.no_grad():
        logits = model(x)
    robust = logits.argmax(1) == y
    for name in _attacks_for(logits.shape[1]):
        left = robust.nonzero().flatten()
        if not len(left):
            return
        found, labels = _run(name, model, x[left], y[left], threat, seed, logits.shape[1])
        fooled = left[labels != y[left]]
        x_adv[fooled] = found[labels != y[left]]
        robust[fooled] = False
        yield Stage(name, x_adv.clone(), robust.clone())


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing that AutoAttack warns of is printed: each of its five warnings is a check of the diagnosis."""
    propagate, level = _LOGGER.propagate, _LOGGER.level
    _LOGGER.propagate = False
    _LOGGER.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        _LOGGER.propagate = propagate
        _LOGGER.setLevel(level)


def _attacks_for(classes: int) -> tuple[str, ...]:
    targeted = {2: (), 3: ("apgd-dlr",)}.get(classes, ("apgd-t",))
    return ("apgd-ce", *targeted, "fab-t", "square")


def _run(
    name: str, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, seed: int, classes: int
) -> tuple[Tensor, Tensor]:
    """One attack on examples that the model gets right: adversarial images and the labels predicted for them."""
    with ExitStack() as stack:
        for context in (quiet(), evaluating(model), frozen(model), randomness.kept(), own_trace()):
            stack.enter_context(context)
        adversary: Any = pyautoattack.AutoAttack(
            model, norm=threat.norm, eps=threat.eps, seed=seed, device=x.device, version="standard"
        )
        adversary.attacks_to_run = [name]
        adversary.apgd_targeted.n_target_classes = adversary.fab.n_target_classes = min(9, classes - 1)
        found, labels = adversary.run_standard_evaluation(x, y, batch_size=len(x))
    return found, labels


@contextmanager
def own_trace() -> Iterator[None]:
    """Its check for dynamic models takes over ``sys.settrace`` and counts for ever in a global: undo both."""
    trace = sys.gettrace()
    checks.funcs.update(dict.fromkeys(checks.funcs, 0))
    try:
        yield
    finally:
        sys.settrace(trace)
