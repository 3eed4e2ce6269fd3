"""Training without a defence: the control."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from harness.api.method import LossTerms, Method, Step, method
from harness.api.model import heads_of
from harness.api.threat import Threat


@method("natural")
@dataclass(frozen=True, kw_only=True)
class Natural(Method):
    """Cross-entropy on the natural images."""

    summary = "no defence: cross-entropy on natural images"
    best_by = "natural"  # its robust accuracy is chance, and would choose an untrained model

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, step: Step) -> LossTerms:
        """``CE(x, y)``, whatever the threat."""
        natural = F.cross_entropy(heads_of(model, x, y).logits, y)
        return LossTerms(natural, {"natural": natural.detach()})
