"""The fast gradient sign method, and the fast gradient method for L2."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from harness.api.attack import Views, attack
from harness.api.threat import Threat
from harness.attacks.losses import cross_entropy
from harness.attacks.pgd import projected_ascent


@attack("fgsm")
@dataclass(frozen=True, kw_only=True)
class FGSM:
    """One step of length eps along the cross-entropy's gradient, from the image itself.

    Goodfellow et al. 2015, https://arxiv.org/abs/1412.6572, section 4; under L2 the step is along the gradient
    normalised to length 1.
    """

    summary: ClassVar[str] = "one gradient step of length eps, no random start"

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, generator: torch.Generator, views: Views
    ) -> Tensor:
        """See :class:`harness.api.attack.Attack`; nothing is drawn from ``generator``."""
        x_adv, _ = projected_ascent(model, x, y, threat, cross_entropy, start=x, steps=1, step_size=threat.eps)
        return x_adv
