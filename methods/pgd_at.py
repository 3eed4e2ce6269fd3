"""Adversarial training with projected gradient descent."""

from dataclasses import dataclass

from harness.api.method import Paper, method
from methods.adversarial import AdversarialTraining


@method("pgd-at")
@dataclass(frozen=True, kw_only=True)
class PgdAt(AdversarialTraining):
    """``CE(x_adv, y)`` with ``x_adv`` from a uniformly random start in the ball.

    Madry et al. 2018, https://arxiv.org/abs/1706.06083, equation 2.1.
    """

    summary = "cross-entropy on PGD examples"
    paper = Paper(
        title="Towards Deep Learning Models Resistant to Adversarial Attacks",
        url="https://arxiv.org/abs/1706.06083",
        bibtex=r"""@inproceedings{madry2018towards,
  title     = {Towards Deep Learning Models Resistant to Adversarial Attacks},
  author    = {M{\k{a}}dry, Aleksander and Makelov, Aleksandar and Schmidt, Ludwig and Tsipras, Dimitris and
               Vladu, Adrian},
  booktitle = {International Conference on Learning Representations},
  year      = {2018}
}""",
    )
