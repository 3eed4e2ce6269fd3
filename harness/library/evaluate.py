"""The library call: evaluate any ``nn.Module`` in memory, with no store and nothing written to disk."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from harness.api.attack import Attack
from harness.api.errors import HarnessError
from harness.api.model import declared_views
from harness.api.threat import Threat
from harness.attacks import resolve
from harness.compute.images import device_of
from harness.evaluation.judge import Examples, Judgement, accuracies, all_verdicts, judge
from harness.evaluation.stand_ins import stand_ins_for
from harness.plan.choices import ATTACKS
from harness.plugins import load_plugins
from harness.trust.diagnose import diagnosed
from harness.trust.findings import Finding, Verdict, check_limits, verdict_of
from results.names import NATURAL

BATCH_SIZE = 500


@dataclass(frozen=True)
class Evaluation:
    """What :func:`evaluate` found.

    ``accuracy`` maps ``natural``, each attack and ``worst-case`` to a fraction; ``verdicts`` maps the same names to
    bool (N,), True where the model is still right; ``findings`` say why ``verdict`` is not ``trusted``. ``broken_by``
    maps the attacks that have parts to the name, for each example, of the part that broke it (None: none did).
    """

    accuracy: dict[str, float]
    verdicts: dict[str, Tensor]
    findings: list[Finding]
    verdict: Verdict
    broken_by: dict[str, list[str | None]]


def evaluate(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    threat: Threat,
    attacks: Sequence[str] = ATTACKS,
    diagnostics: bool = True,
    limits: Mapping[str, float] = MappingProxyType({}),
    device: torch.device | str | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> Evaluation:
    """Attack a classifier and verify every adversarial example in float32 on the model itself.

    Args:
        model: maps images (N, C, H, W) in [0, 1] to logits (N, K); normalisation belongs inside. Its modes,
            gradients and device are given back as they were. If it has ``attack_views()`` (name to differentiable
            stand-in), the adaptive attack uses them.
        x: images in [0, 1], floating point, or uint8.
        y: labels (N,), integers in [0, K).
        threat: the norm ball that perturbations stay in, in units of the image.
        attacks: names as on the command line, for example ``pgd-100:restarts=5``.
        diagnostics: also look for signs of gradient masking; without, ``findings`` is empty and the verdict is
            ``suspect``, since nothing vouches for the numbers.
        limits: thresholds of the diagnostics to use in place of the defaults, by name (``docs/trust.md``).
        device: where to work (default: where the model is).
        batch_size: images attacked at once (default 500).
        seed: fixes all randomness.

    Raises:
        HarnessError: for images outside [0, 1], labels that do not fit, an unknown attack or limit.
    """
    load_plugins()
    _check(x, y)
    check_limits(limits)
    resolved = {name: resolve(name) for name in (NATURAL, *attacks)}
    examples, size = Examples(x, y.long()), batch_size or BATCH_SIZE
    findings: list[Finding] = []
    with _moved(model, device):
        judged = {
            name: _judged(model, examples, threat, name, attack, batch_size=size, seed=seed)
            for name, attack in resolved.items()
        }
        if diagnostics:
            findings, _ = diagnosed(model, examples, threat, judged, limits, batch_size=size, seed=seed)
    return Evaluation(
        accuracies(judged),
        all_verdicts(judged),
        findings,
        verdict_of(findings) if diagnostics else "suspect",
        {name: judgement.causes() for name, judgement in judged.items() if judgement.broken_by},
    )


def _judged(
    model: nn.Module, examples: Examples, threat: Threat, name: str, attack: Attack, *, batch_size: int, seed: int
) -> Judgement:
    views = stand_ins_for(attack, model, examples.x, threat, declared_views(model))
    return judge(model, examples, attack, threat, views=views, seed=(seed, name), batch_size=batch_size)


@contextmanager
def _moved(model: nn.Module, device: torch.device | str | None) -> Iterator[None]:
    """On the device, then back; a model that nobody wants moved stays, even spread over several."""
    if device is None:
        yield
        return
    home = device_of(model)
    try:
        try:
            model.to(device)
        except RuntimeError as error:
            raise HarnessError(f"cannot work on device {str(device)!r}: {str(error).splitlines()[0]}") from error
        yield
    finally:
        model.to(home)


def _check(x: Tensor, y: Tensor) -> None:
    if x.dim() != 4 or len(x) == 0:
        raise HarnessError(f"images must have shape (N, C, H, W) with N >= 1, got {tuple(x.shape)}")
    if y.shape != x.shape[:1] or y.is_floating_point():
        raise HarnessError(f"labels must be integers of shape ({len(x)},), got {y.dtype} {tuple(y.shape)}")
    if not x.is_floating_point() and x.dtype != torch.uint8:
        raise HarnessError(f"images must be floating point in [0, 1], or uint8, got {x.dtype}")
    if int(y.min()) < 0:
        raise HarnessError(f"labels must be at least 0, got {int(y.min())}")
    if x.is_floating_point() and not bool(((x >= 0) & (x <= 1)).all()):
        raise HarnessError(
            f"images must lie in [0, 1], got values from {float(x.min()):.4g} to {float(x.max()):.4g}: "
            "divide bytes by 255, and move any normalisation into the model"
        )
