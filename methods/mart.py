"""MART: adversarial training that looks at the naturally misclassified examples."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from harness.api.method import LossTerms, Paper, method
from harness.api.model import heads_of
from methods.adversarial import Batch, NoisyStart, kl_divergence
from methods.fields import real


@method("mart")
@dataclass(frozen=True, kw_only=True)
class Mart(NoisyStart):
    """``BCE(x_adv, y) + beta * KL(p(x) || p(x_adv)) * (1 - p_y(x))``, where ``x_adv`` raises the cross-entropy.

    Wang et al. 2020, https://openreview.net/forum?id=rklOg6EFwS, section 3, the objective of algorithm 1 (``beta`` is
    its lambda). Gradients pass through every factor.
    """

    summary = "boosted cross-entropy on PGD examples plus a divergence weighted by natural misclassification"
    paper = Paper(
        title="Improving Adversarial Robustness Requires Revisiting Misclassified Examples",
        url="https://openreview.net/forum?id=rklOg6EFwS",
        bibtex=r"""@inproceedings{wang2020improving,
  title     = {Improving Adversarial Robustness Requires Revisiting Misclassified Examples},
  author    = {Wang, Yisen and Zou, Difan and Yi, Jinfeng and Bailey, James and Ma, Xingjun and Gu, Quanquan},
  booktitle = {International Conference on Learning Representations},
  year      = {2020}
}""",
    )

    beta: float = real(6.0)

    def objective(self, batch: Batch) -> LossTerms:
        """The terms are ``robust`` (boosted cross-entropy) and ``consistency`` (weighted divergence)."""
        adversarial = self.attack(batch)
        natural, heads = batch.natural, heads_of(batch.model, adversarial, batch.y)
        robust = self.over(lambda logits: boosted_cross_entropy(logits, batch.y).mean(), heads)
        consistency = self.over(lambda p, q: weighted_divergence(p, q, batch.y).mean(), natural, heads)
        terms = {"robust": robust.detach(), "consistency": consistency.detach()}
        return LossTerms(robust + self.beta * consistency, terms)


def boosted_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """``-log p_y - log(1.0001 - max_{k != y} p_k)``: logits (N, K) and labels (N,) to (N,).

    Wang et al. 2020, section 3, BCE; 0.0001 is the authors' guard of the logarithm.
    """
    others = logits.softmax(1).scatter(1, y[:, None], 0.0)
    return F.cross_entropy(logits, y, reduction="none") - (1.0001 - others.amax(1)).log()


def weighted_divergence(natural: Tensor, adversarial: Tensor, y: Tensor) -> Tensor:
    """``KL(p(x) || p(x_adv)) * (1 - p_y(x))``: two times logits (N, K) and labels (N,) to (N,).

    Wang et al. 2020, section 3: the misclassification-aware regularisation.
    """
    right = natural.softmax(1).gather(1, y[:, None])[:, 0]
    return kl_divergence(natural, adversarial) * (1 - right)
