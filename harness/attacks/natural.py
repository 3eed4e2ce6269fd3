"""No attack: the accuracy on clean images, measured on the same path as every other number."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from harness.api.attack import Views, attack
from harness.api.threat import Threat


@attack("natural")
@dataclass(frozen=True, kw_only=True)
class Natural:
    """Leaves the images as they are."""

    summary: ClassVar[str] = "no attack: accuracy on clean images"

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, generator: torch.Generator, views: Views
    ) -> Tensor:
        """``x`` itself."""
        return x
