"""The library call: evaluate any ``nn.Module`` in memory, with no store and nothing written to disk."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import index
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from harness.api.attack import Attack
from harness.api.errors import HarnessError
from harness.api.model import declared_views
from harness.api.threat import Threat
from harness.attacks import resolve
from harness.compute.images import device_of
from harness.evaluation.judge import Examples, judge
from harness.evaluation.judgement import Judgement, accuracies, all_verdicts, at_least
from harness.evaluation.stand_ins import stand_ins_for
from harness.library.foreign import ForeignModel, examples_from
from harness.plan.choices import ATTACKS
from harness.plugins import load_plugins
from harness.trust.diagnose import diagnosed
from harness.trust.findings import Finding, Verdict, check_limits, verdict_of
from harness.trust.probes import Probes
from harness.views.survey import kept_buffers
from results.names import NATURAL

BATCH_SIZE = 500


@dataclass(frozen=True)
class Evaluation:
    """What :func:`evaluate` found.

    ``accuracy`` maps ``natural``, each attack and ``worst-case`` to a fraction; ``verdicts`` maps the same names to
    bool (N,), True where the model is still right; ``findings`` say why ``verdict`` is not ``trusted``. ``broken_by``
    maps the attacks that have parts to the name, for each example, of the part that broke it (None: none did).
    ``at_least`` has an entry for each number that rests on a sample, as under ``autoattack-fast``: with 95 % confidence
    the whole attack would leave no smaller fraction.
    ``judgements`` and ``probes`` (None without diagnostics) are what the others were read from.
    """

    accuracy: dict[str, float]
    verdicts: dict[str, Tensor]
    findings: list[Finding]
    verdict: Verdict
    broken_by: dict[str, list[str | None]]
    at_least: dict[str, float]
    judgements: Mapping[str, Judgement] = field(repr=False)
    probes: Probes | None = field(repr=False)


def evaluate(
    model: Callable[[Tensor], Any],
    x: Any,
    y: Any,
    *,
    threat: Threat,
    attacks: Sequence[str] | str = ATTACKS,
    diagnostics: bool = True,
    limits: Mapping[str, float] = MappingProxyType({}),
    device: torch.device | str | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> Evaluation:
    """Attack a classifier and verify every adversarial example in float32 on the model itself.

    A search may be in bfloat16 where the model is faster in it and shows the same (``docs/trust.md``).

    Args:
        model: an ``nn.Module``, scripted or compiled too, or any function, from images (N, C, H, W) in [0, 1] to logits
            (N, K); normalisation belongs inside. It is given copies of the images, of its own precision; its modes,
            gradients and device are given back as they were. If it has ``attack_views()`` (name to differentiable
            stand-in), the adaptive attack uses them.
        x: images in [0, 1], floating point, or uint8: a tensor, an array or a list.
        y: labels (N,), integers in [0, K).
        threat: the norm ball that perturbations stay in, in units of the image.
        attacks: names as on the command line, for example ``["fgsm", "pgd-100:restarts=5"]``.
        diagnostics: also look for signs of gradient masking; without, ``findings`` is empty and the verdict is
            ``suspect``, since nothing vouches for the numbers.
        limits: thresholds of the diagnostics to use in place of the defaults, by name (``docs/trust.md``).
        device: where to work (default: where the model is).
        batch_size: images attacked at once (default 500).
        seed: fixes the attacks' draws, and those of models that draw from torch, numpy or ``random``.

    Raises:
        HarnessError: for images outside [0, 1], labels that do not fit, an unknown attack or limit, a model that fails
            or answers with something else than logits.
    """
    load_plugins()
    check_limits(limits)
    resolved, size = _resolved(threat, attacks), _positive(batch_size)
    findings: list[Finding] = []
    probes: Probes | None = None
    with torch.inference_mode(False):
        examples = examples_from(x, y)
        network = ForeignModel(model, examples.x.device)
    with torch.inference_mode(False), _moved(network, device), kept_buffers(network):
        judged = {
            name: _judged(network, examples, threat, name, attack, batch_size=size, seed=seed)
            for name, attack in resolved.items()
        }
        if diagnostics:
            findings, probes = diagnosed(network, examples, threat, judged, limits, batch_size=size, seed=seed)
    return Evaluation(
        accuracies(judged),
        all_verdicts(judged),
        findings,
        verdict_of(findings) if diagnostics else "suspect",
        {name: judgement.causes() for name, judgement in judged.items() if judgement.broken_by},
        at_least(judged),
        judged,
        probes,
    )


def _resolved(threat: Threat, attacks: Sequence[str] | str) -> dict[str, Attack]:
    """The attacks by name, ``natural`` first."""
    if not isinstance(threat, Threat):
        raise HarnessError(f"threat must be a harness.Threat, for example Threat('Linf', 8 / 255), got {threat!r}")
    names = (
        attacks.split(",") if isinstance(attacks, str) else list(attacks) if isinstance(attacks, Iterable) else [None]
    )
    if not all(isinstance(name, str) for name in names):
        raise HarnessError(f"attacks must be names, for example ['fgsm', 'pgd-20'], got {attacks!r}")
    return {name: resolve(name) for name in (NATURAL, *(str(name).strip() for name in names))}


def _positive(batch_size: int | None) -> int:
    if batch_size is None:
        return BATCH_SIZE
    if not hasattr(batch_size, "__index__") or index(batch_size) < 1:
        raise HarnessError(f"batch_size must be a whole number of at least 1, got {batch_size!r}")
    return index(batch_size)


def _judged(
    model: nn.Module, examples: Examples, threat: Threat, name: str, attack: Attack, *, batch_size: int, seed: int
) -> Judgement:
    views = stand_ins_for(attack, model, examples.x[:batch_size], threat, declared_views(model))
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
            if torch.device(device).type == "meta":
                raise HarnessError("cannot work on device 'meta', which computes nothing")
            model.to(device)
        except RuntimeError as error:
            raise HarnessError(f"cannot work on device {str(device)!r}: {str(error).splitlines()[0]}") from error
        yield
    finally:
        model.to(home)
