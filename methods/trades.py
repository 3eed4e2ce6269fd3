"""TRADES: natural accuracy against the stability of predictions."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.api.method import LossTerms, Paper, method
from harness.api.model import Heads, heads_of
from harness.compute.modes import evaluating
from methods.adversarial import Batch, NoisyStart, kl_divergence
from methods.fields import real


@method("trades")
@dataclass(frozen=True, kw_only=True)
class Trades(NoisyStart):
    """``CE(x, y) + beta * KL(p(x) || p(x_adv))``, where ``x_adv`` raises the same divergence.

    Zhang et al. 2019, https://arxiv.org/abs/1901.08573, equation 5 with the cross-entropy as surrogate and
    ``beta = 1 / lambda``. Gradients pass through both sides of the divergence.
    """

    summary = "natural cross-entropy plus the divergence between natural and adversarial predictions"
    paper = Paper(
        title="Theoretically Principled Trade-off between Robustness and Accuracy",
        url="https://arxiv.org/abs/1901.08573",
        bibtex=r"""@inproceedings{zhang2019theoretically,
  title     = {Theoretically Principled Trade-off between Robustness and Accuracy},
  author    = {Zhang, Hongyang and Yu, Yaodong and Jiao, Jiantao and Xing, Eric and El Ghaoui, Laurent and
               Jordan, Michael},
  booktitle = {Proceedings of the 36th International Conference on Machine Learning},
  pages     = {7472--7482},
  year      = {2019}
}""",
    )

    beta: float = real(6.0)

    def objective(self, batch: Batch) -> LossTerms:
        """Equation 5, with the terms ``natural`` (cross-entropy) and ``robust`` (divergence)."""
        adversarial = self.attack(batch)
        natural = self.over(lambda logits: F.cross_entropy(logits, batch.y), batch.natural)
        heads = heads_of(batch.model, adversarial, batch.y)
        robust = self.over(lambda p, q: kl_divergence(p, q).mean(), batch.natural, heads)
        return LossTerms(natural + self.beta * robust, {"natural": natural.detach(), "robust": robust.detach()})

    def attack(self, batch: Batch) -> Tensor:
        """PGD on the divergence from ``x + start_noise N(0, 1)``: at ``x`` it has no gradient. ``p(x)`` is fixed."""
        with evaluating(batch.model), torch.no_grad():
            clean = heads_of(batch.model, batch.x)

        def divergence(heads: Heads) -> Tensor:
            return self.over(lambda p, q: kl_divergence(p, q).sum(), clean, heads)

        return self.raise_over_heads(batch, divergence, batch.x, start=self.start(batch, batch.x))
