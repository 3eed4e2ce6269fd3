"""What adversarial training methods share: one step's batch, the inner attack, and terms written over heads.

A method overrides :meth:`AdversarialTraining.objective`, :meth:`AdversarialTraining.attack` or both. If it writes its
terms with :meth:`AdversarialTraining.over`, it can be composed with ANCRA (:mod:`methods.ancra`) as it stands.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.api.method import LossTerms, Method, Step
from harness.api.model import Heads, heads_of
from harness.api.threat import Threat
from harness.compute.ascent import ascend
from methods.fields import check, count, real


@dataclass(frozen=True, eq=False)
class Batch:
    """One optimisation step: a model in training mode, images ``x`` (N, C, H, W) in [0, 1], labels ``y`` (N,)."""

    model: nn.Module
    x: Tensor
    y: Tensor
    threat: Threat
    step: Step

    @cached_property
    def natural(self) -> Heads:
        """The heads on the natural images, with gradient: one forward pass, however many terms use it."""
        return heads_of(self.model, self.x, self.y)


@dataclass(frozen=True, kw_only=True)
class AdversarialTraining(Method):
    """Cross-entropy on the examples of a PGD attack on the cross-entropy, unless a subclass says otherwise.

    ``attack_steps`` are the steps of the inner attack; radius and step size come with the threat.

    Raises:
        HarnessError: if a hyperparameter is out of its range.
    """

    attack_steps: int = count(10)

    def __post_init__(self) -> None:
        check(self)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, step: Step) -> LossTerms:
        """See :meth:`harness.api.method.Method.loss`."""
        return self.objective(Batch(model, x, y, threat, step))

    def objective(self, batch: Batch) -> LossTerms:
        """The loss of one step. The named terms are without their weights."""
        adversarial = heads_of(batch.model, self.attack(batch), batch.y)
        robust = self.over(lambda logits: F.cross_entropy(logits, batch.y), adversarial)
        return LossTerms(robust, {"robust": robust.detach()})

    def attack(self, batch: Batch) -> Tensor:
        """Adversarial examples (N, C, H, W): PGD on the cross-entropy from a uniformly random point of the ball."""
        return self.raise_cross_entropy(batch, start=batch.threat.random_start(batch.x, batch.step.generator))

    def over(self, term: Callable[..., Tensor], *heads: Heads) -> Tensor:
        """``term``, a scalar, of the logits (N, K) of each ``heads``; variants with auxiliary heads add theirs."""
        return term(*(each.logits for each in heads))

    def raise_cross_entropy(self, batch: Batch, *, start: Tensor) -> Tensor:
        """Projected ascent on the cross-entropy over heads, summed over the batch, from ``start``."""

        def objective(heads: Heads) -> Tensor:
            return self.over(lambda logits: F.cross_entropy(logits, batch.y, reduction="sum"), heads)

        return self.raise_over_heads(batch, objective, batch.x, start=start)

    def raise_over_heads(
        self, batch: Batch, objective: Callable[[Heads], Tensor], x: Tensor, *, start: Tensor
    ) -> Tensor:
        """Projected ascent on ``objective(heads)`` in the ball around ``x``, the model in evaluation mode."""
        return ascend(
            batch.model,
            x,
            lambda x_adv: objective(heads_of(batch.model, x_adv)),
            batch.threat,
            start=start,
            steps=self.attack_steps,
        )


@dataclass(frozen=True, kw_only=True)
class NoisyStart(AdversarialTraining):
    """Inner attacks that begin near the image: ``start_noise`` is a standard deviation, in units of the image."""

    start_noise: float = real(0.001)

    def start(self, batch: Batch, x: Tensor) -> Tensor:
        """``x + start_noise N(0, 1)``, for objectives that have no gradient, or little, at ``x`` itself."""
        noise = torch.randn(x.shape, generator=batch.step.generator, device=x.device, dtype=x.dtype)
        return x + self.start_noise * noise

    def attack(self, batch: Batch) -> Tensor:
        """PGD on the cross-entropy from ``x + start_noise N(0, 1)``."""
        return self.raise_cross_entropy(batch, start=self.start(batch, batch.x))


def kl_divergence(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    """``KL(softmax(p_logits) || softmax(q_logits))`` of each row: (N, K) and (N, K) to (N,), in nats."""
    divergence = F.kl_div(q_logits.log_softmax(1), p_logits.log_softmax(1), reduction="none", log_target=True)
    return divergence.sum(1)
