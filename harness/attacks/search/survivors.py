"""What several searches in a row share: the examples that still stand, and who broke the others."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.api.attack import Proposal

# Images (M, C, H, W) and labels (M,) of the examples that still stand, to the search's x_adv and fooled, bool (M,).
Search = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass
class Survivors:
    """Images ``x`` (N, C, H, W) with labels ``y`` (N,) under one search after another.

    ``x_adv`` (N, ...) is what each example has come to, ``left`` (M,) are the positions of those that still stand.
    """

    x: Tensor
    y: Tensor

    def __post_init__(self) -> None:
        self.x_adv = self.x.clone()
        self.left = torch.arange(len(self.x), device=self.x.device)
        self.part = torch.full((len(self.x),), -1, device=self.x.device)
        self.parts: list[str] = []

    def __len__(self) -> int:
        return len(self.left)

    def attack(self, part: str, search: Search) -> bool:
        """Search among the examples that still stand; whether any fell. What falls is credited to ``part``."""
        if part not in self.parts:
            self.parts.append(part)
        if not len(self.left):
            return False
        found, fooled = search(self.x[self.left], self.y[self.left])
        self.x_adv[self.left] = found
        self.part[self.left[fooled]] = self.parts.index(part)
        self.left = self.left[~fooled]
        return bool(fooled.any())

    def proposal(self) -> Proposal:
        """What the searches found, and which of them found it."""
        return Proposal(self.x_adv, self.part, tuple(self.parts))
