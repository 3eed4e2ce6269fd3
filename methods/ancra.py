"""ANCRA as two parts that wrap any base objective: asymmetric negative contrast and reverse attention.

Zhou et al. 2023, https://arxiv.org/abs/2310.03358. A base is an :class:`~methods.adversarial.AdversarialTraining`
that writes its terms with ``over``. Composing a new variant takes a class without a body of its own::

    @method("mine-ancra")
    @dataclass(frozen=True, kw_only=True)
    class MineAncra(Ancra, Mine):
        summary = "my method with ANCRA"

:class:`NegativeContrast` or :class:`ReverseAttention` in the place of :class:`Ancra` give the ablations. The decorator
``dataclass`` is needed: it joins the hyperparameters of all parts. Every variant makes its adversarial examples with
the variant's own attack, whatever the base's: PGD on the cross-entropy over heads, from ``x + start_noise N(0, 1)``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.api.errors import HarnessError, UnknownName
from harness.api.method import LossTerms, Paper
from harness.api.model import Classifier, Heads, Inputs, heads_of, over_heads
from harness.compute.modes import evaluating
from methods.adversarial import Batch, NoisyStart
from methods.fields import count, real
from methods.negatives import STRATEGIES, sample_random, sample_ranked
from methods.reverse_attention import ReverseAttentionNetwork

_ATTACKED = "_adv"


@dataclass(frozen=True, kw_only=True)
class Variant(NoisyStart):
    """What all variants share: where they come from, and the attack."""

    paper = Paper(
        title="Robust Representation Learning via Asymmetric Negative Contrast and Reverse Attention",
        url="https://arxiv.org/abs/2310.03358",
        bibtex=r"""@misc{zhou2023robust,
  title         = {Robust Representation Learning via Asymmetric Negative Contrast and Reverse Attention},
  author        = {Zhou, Nuoyan and Liu, Decheng and Zhou, Dawei and Gao, Xinbo and Wang, Nannan},
  year          = {2023},
  eprint        = {2310.03358},
  archivePrefix = {arXiv},
  primaryClass  = {cs.CV}
}""",
    )

    def attack(self, batch: Batch) -> Tensor:
        """PGD on the cross-entropy over heads, in the place of the base's attack."""
        return NoisyStart.attack(self, batch)


@dataclass(frozen=True, kw_only=True)
class ReverseAttention(Variant):
    """Models with reverse attention; ``aux_weight`` weighs the auxiliary heads in every term."""

    aux_weight: float = real(2.0)

    def build_model(self, name: str, num_classes: int, inputs: Inputs) -> nn.Module:
        """The registered model ``name`` with reverse attention.

        Raises:
            HarnessError: if the model cannot be built with it.
        """
        network = super().build_model(name, num_classes, inputs)
        if not isinstance(network, Classifier):
            raise HarnessError(
                f"model {name!r} has no reverse attention (it is no harness.api.model.Classifier, whose blocks it "
                "could follow): choose another model, or a method without it"
            )
        return ReverseAttentionNetwork(network)

    def over(self, term: Callable[..., Tensor], *heads: Heads) -> Tensor:
        """``term(logits) + aux_weight * mean over the auxiliary heads of term(auxiliary)``."""
        return over_heads(term, *heads, weight=self.aux_weight)


@dataclass(frozen=True, kw_only=True)
class NegativeContrast(Variant):
    """The base objective plus ``zeta * L_anc``, which pushes apart the predictions of examples of different classes.

    ``alpha`` = 1 freezes the natural anchor and moves only its negative, 0 the reverse. ``strategy`` chooses the
    negatives (:mod:`methods.negatives`; the first ``random_epochs`` are random); with ``_adv`` they are first attacked
    towards the anchor's label. A batch of one class has no negatives: its term is 0.

    Raises:
        UnknownName: if the strategy is none of them.
    """

    zeta: float = real(3.0)
    alpha: float = real(1.0, high=1.0)
    strategy: str = "random_adv"
    negatives_per_anchor: int = count(1)
    random_epochs: int = count(10, low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        known = [strategy + suffix for strategy in STRATEGIES for suffix in ("", _ATTACKED)]
        if self.strategy not in known:
            raise UnknownName("strategy", str(self.strategy), known)

    def objective(self, batch: Batch) -> LossTerms:
        """The base's terms and ``anc``. Negatives come first: all attacks meet the model as the step found it."""
        index = self.negatives(batch)
        images = self.negative_images(batch, index)
        base = super().objective(batch)
        anc = self.contrast(batch, index, images)
        return LossTerms(base.total + self.zeta * anc, {**base.terms, "anc": anc.detach()})

    def contrast(self, batch: Batch, index: Tensor, images: Tensor) -> Tensor:
        """``L_anc`` over heads: the mean of :func:`asymmetric_similarity` over all pairs of anchor and negative.

        ``index`` (N, M) are the negatives of each example, ``images`` (N * M, C, H, W) what they look like.
        """
        labels, per_anchor = batch.y[index.flatten()], index.shape[1]
        differs = labels != batch.y.repeat_interleave(per_anchor)

        def mean_similarity(anchor: Tensor, negative: Tensor) -> Tensor:
            pairs = asymmetric_similarity(anchor.repeat_interleave(per_anchor, dim=0), negative, self.alpha)
            return (pairs * differs).sum() / differs.sum().clamp(min=1)

        return self.over(mean_similarity, batch.natural, heads_of(batch.model, images, labels))

    def negatives(self, batch: Batch) -> Tensor:
        """Indices (N, M) of the negatives of each example, ranked by the logits of the model in evaluation mode."""
        strategy = self.strategy.removesuffix(_ATTACKED)
        if strategy == "random" or batch.step.epoch <= self.random_epochs:
            return sample_random(batch.y, self.negatives_per_anchor, batch.step.generator)
        with evaluating(batch.model), torch.no_grad():
            logits = heads_of(batch.model, batch.x).logits
        return sample_ranked(strategy, logits, batch.y, self.negatives_per_anchor, batch.step.generator)

    def negative_images(self, batch: Batch, index: Tensor) -> Tensor:
        """The negatives (N * M, C, H, W), attacked if the strategy says so.

        The attack is targeted PGD in the ball around the negative: it lowers the cross-entropy over heads of the
        anchor's label, from ``x + start_noise N(0, 1)``.
        """
        x, target = batch.x[index.flatten()], batch.y.repeat_interleave(index.shape[1])
        if not self.strategy.endswith(_ATTACKED):
            return x

        def objective(heads: Heads) -> Tensor:
            return -self.over(lambda logits: F.cross_entropy(logits, target, reduction="sum"), heads)

        return self.raise_over_heads(batch, objective, x, start=self.start(batch, x))


@dataclass(frozen=True, kw_only=True)
class Ancra(NegativeContrast, ReverseAttention):
    """Both parts."""


def asymmetric_similarity(anchor: Tensor, negative: Tensor, alpha: float) -> Tensor:
    """``alpha * s(stopgrad q, r) + (1 - alpha) * s(q, stopgrad r)`` of the softmax outputs q and r.

    ``s = sqrt(max q * max r)`` where q and r have the same largest class, else 0. Logits (M, K) and (M, K) to (M,)
    in [0, 1].
    """
    q, r = anchor.softmax(1), negative.softmax(1)
    return alpha * _similarity(q.detach(), r) + (1 - alpha) * _similarity(q, r.detach())


def _similarity(q: Tensor, r: Tensor) -> Tensor:
    top_q, top_r = q.max(1), r.max(1)
    return (top_q.values * top_r.values).sqrt() * (top_q.indices == top_r.indices)
