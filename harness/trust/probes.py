"""Measurements on a model that tell whether attacks on it can be believed; :mod:`harness.trust.findings` judges them.

Only the first ``PROBE_EXAMPLES`` examples are looked at, and each passes through the model at most ``PROBE_FORWARDS``
times (461 and one image more): 92,000 passes are a tenth of what the first of AutoAttack's four attacks alone takes on
10,000 examples (100 steps each). After Pintor et al. 2022, "Indicators of Attack Failure", https://arxiv.org/abs/2106.09947,
Carlini et al. 2019, https://arxiv.org/abs/1902.06705, and Athalye et al. 2018, https://arxiv.org/abs/1802.00420.
"""

import math
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from harness.api.threat import Threat
from harness.compute.modes import evaluating, exact_float32, frozen
from harness.trust.subject import (
    Subject,
    Trace,
    are_distributions,
    cosine,
    counted_autograd,
    depends_on_company,
    fooled,
    loss_noise,
    otherwise,
    renamed,
    spread,
    zero,
)
from harness.views.survey import kept_randomness

PROBE_EXAMPLES = 200
PROBE_FORWARDS = 462
PAIRED = 16

STEPS = 20
MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0)
BOX_STEPS = 100
RESTARTS = 5
FORWARDS = 5
NEAR = 0.1


@dataclass(frozen=True)
class Probes:
    """What was measured; the defaults speak against nothing. Shares are of the ``attacked`` examples, in [0, 1].

    An example "stands" where the last iterate of PGD-20 (steps of eps / 4, as in the attack ``pgd-20``) is classified
    as labelled; an attack "finds" those of the standing examples that it breaks.
    """

    examples: int = 0
    """Examples looked at."""
    attacked: int = 0
    """Those the model gets right: only they are attacked."""
    classes: int = 0
    """Number of logits."""
    renamed: float = 0.0
    """Share that would be right if the model's classes were renamed, one to one, as suits the labels best."""
    as_bytes: float = 0.0
    """Share that is right on the images times 255; looked at only where hardly any is right as they are."""
    gradient_reaches: bool = True
    """Whether autograd connects the loss to the images at all."""
    zero_gradient_clean: float = 0.0
    """Share whose input gradient is exactly zero (or not finite) at the image."""
    zero_gradient_start: float = 0.0
    """The same at a random point of the ball."""
    vanishing_gradient_clean: float = 0.0
    """Share that stands and whose gradient at the image promises under 1e-6 nats of loss in the ball (eps times
    the gradient's dual norm)."""
    vanishing_gradient_start: float = 0.0
    """The same at a random point of the ball."""
    gradient_cosine: float = 1.0
    """Mean cosine, in [-1, 1], of the gradients at the image and at a random point within eps / 10, of what stands."""
    foretold: float = 1.0
    """Correlation of what the gradient foretells of small moves with what they do
    (:func:`harness.views.survey.foretold`)."""
    loss_noise: float = 0.0
    """Mean of c / (c + r), in [0, 1), of what stands: c is how much the loss differs at a random point within eps / 10,
    r how much PGD-20 raises it."""
    incomplete: float = 0.0
    """Share that PGD-40 leaves too, though its highest loss rose in the last 10 steps by over 5 % of the loss' range.

    After 20 steps the same is true of up to a third of what honest models withstand: they are too few to settle."""
    silent: float = 0.0
    """Share that stands although an earlier iterate of PGD-20 fooled the model."""
    curve: dict[str, float] = field(default_factory=dict)
    """Share that stands when eps is multiplied by 0.25, 0.5, 1, 2 and 4; ``box``: after PGD-100 in all of [0, 1]."""
    more_steps: float = 0.0
    """Share that PGD-40 finds."""
    restarts: float = 0.0
    """Share that the other four of PGD-20 with five restarts find."""
    noise: float = 0.0
    """Share that 100 random points of the ball find, every second one on its surface (a corner, under Linf)."""
    forward_spread: float = 0.0
    """Largest L2 distance, in [0, 2], between the normalised logits of the same image in 5 forward passes."""
    otherwise: float = 0.0
    """Share of all examples whose logits are other ones where a gradient is wanted
    (:func:`harness.trust.subject.otherwise`)."""
    in_pairs: float = 0.0
    """Share of the first 16 examples whose logits are other ones in batches of two."""
    softmax_output: bool = False
    """Whether every output is a probability distribution."""
    autograd_calls: int = 0
    """How often one forward pass calls autograd itself."""


def probe(
    model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, generator: torch.Generator, batch_size: int = 500
) -> Probes:
    """Look at the first ``PROBE_EXAMPLES`` of the images ``x`` (N, C, H, W) in [0, 1] with labels ``y`` (N,).

    The images and ``generator`` are on the model's device. The model is in evaluation mode, frozen and in float32
    meanwhile; it and the global random state are given back as they were.
    """
    x, y = x[:PROBE_EXAMPLES].float(), y[:PROBE_EXAMPLES]
    subject = Subject(model, threat, generator, batch_size)
    with ExitStack() as stack:
        for context in (evaluating(model), frozen(model), exact_float32(x.device)):
            stack.enter_context(context)
        restart = stack.enter_context(kept_randomness(generator))
        with counted_autograd() as calls:
            subject.logits(x[:1])
        restart()
        outputs = torch.stack([subject.logits(x) for _ in range(FORWARDS)])
        restart()
        wanted = subject.logits(x, wanted=True)
        restart()
        few = x[:PAIRED]
        paired = torch.cat([subject.logits(pair) for pair in torch.split(few, 2)])
        right, classes = ~fooled(outputs[0], y), outputs.shape[2]
        seen = Probes(
            examples=len(x),
            attacked=int(right.sum()),
            classes=classes,
            renamed=renamed(outputs[0].argmax(1), y, classes),
            as_bytes=_mean(~fooled(subject.logits(255 * x), y)) if _mean(right) <= 2 / classes else 0.0,
            forward_spread=spread(outputs),
            otherwise=_mean(otherwise(wanted, outputs)),
            in_pairs=_mean(depends_on_company(paired, outputs[:, : len(few)])),
            softmax_output=are_distributions(outputs[0]),
            autograd_calls=calls(),
        )
        return _attacked(seen, subject, x[right], y[right]) if seen.attacked else seen


def _attacked(seen: Probes, subject: Subject, x: Tensor, y: Tensor) -> Probes:
    """``seen`` with what attacks on ``x`` (M, C, H, W) tell, all of it classified as labelled, M >= 1."""
    start = subject.threat.random_start(x, subject.generator)
    at_image, at_start = subject.look(x, y), subject.look(start, y)
    traces = {multiple: subject.follow(x, y, multiple, STEPS) for multiple in MULTIPLES}
    box = subject.follow(x, y, math.inf, BOX_STEPS)
    curve = {f"{multiple:g}": _mean(~trace.wrong[-1]) for multiple, trace in traces.items()}
    seen = replace(
        seen,
        gradient_reaches=at_image.reached,
        foretold=subject.foretold(x, y),
        zero_gradient_clean=_mean(zero(at_image)),
        zero_gradient_start=_mean(zero(at_start)),
        curve=curve | {"box": _mean(~box.wrong[-1])},
    )
    trace = traces[1.0]
    stands = ~trace.wrong[-1]
    if not stands.any():
        return seen
    return _standing(seen, subject, x[stands], y[stands], Trace(trace.loss[:, stands], trace.wrong[:, stands]))


def _standing(seen: Probes, subject: Subject, x: Tensor, y: Tensor, trace: Trace) -> Probes:
    """``seen`` with what ``x`` (M, C, H, W), M >= 1, shows, which stands after PGD-20 went along ``trace``."""
    threat, draw = subject.threat, subject.generator
    clean, start = subject.look(x, y), subject.look(threat.random_start(x, draw), y)
    near = subject.look(replace(threat, eps=NEAR * threat.eps).random_start(x, draw), y)
    longer = subject.follow(x, y, 1.0, 2 * STEPS)
    restarts = torch.stack([subject.follow(x, y, 1.0, STEPS).wrong[-1] for _ in range(RESTARTS - 1)])

    def share(which: Tensor) -> float:
        return int(which.sum()) / seen.attacked

    return replace(
        seen,
        vanishing_gradient_clean=share(subject.vanishing(clean)),
        vanishing_gradient_start=share(subject.vanishing(start)),
        gradient_cosine=_mean(cosine(clean, near)),
        loss_noise=_mean(loss_noise(clean, near, trace)),
        incomplete=share(longer.still_rising() & ~longer.wrong[-1]),
        silent=share(trace.wrong.any(0)),
        more_steps=share(longer.wrong[-1]),
        restarts=share(restarts.any(0)),
        noise=share(subject.fooled_by_noise(x, y)),
    )


def _mean(values: Tensor) -> float:
    return float(values.double().mean())
