"""What one search has found. Who has fallen is looked up once in a block of steps, since a GPU is waited for there."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

# Images (M, C, H, W) and the positions (M,) of their examples in the batch, to whether they fool the model, bool (M,).
Confirm = Callable[[Tensor, Tensor], Tensor]

# Steps of a GPU between two looks: with more, more passes are spent on examples that have fallen.
_BLOCK = 10


def block(device: torch.device) -> int:
    """After how many steps a search looks up who has fallen: after each on a CPU, which has nothing to wait for."""
    return 1 if device.type == "cpu" else _BLOCK


class Claim(NamedTuple):
    """Which of M images seem to fool the model, ``wrong`` bool (M,); ``doubtful`` if that is to be confirmed."""

    wrong: Tensor
    doubtful: bool = False


class Found:
    """What each of N examples has come to, ``x_adv`` (N, ...), and whether that fools the model, ``fooled`` bool (N,).

    A search notes what it claims in every step; claims are settled, in the order in which they were made, when
    :attr:`due`: doubtful ones are confirmed, and the first that holds is the example's result. ``group`` (N,) numbers
    the examples that are tries at the same image: when one of them has fallen, none of the others stands.
    """

    def __init__(self, start: Tensor, confirm: Confirm | None, group: Tensor | None = None) -> None:
        self.x_adv = start.detach().clone()
        self.fooled = torch.zeros(len(start), dtype=torch.bool, device=start.device)
        self.everyone = torch.arange(len(start), device=start.device)
        self._confirm, self._group = confirm, self.everyone if group is None else group
        self._fallen = torch.zeros_like(self.everyone)
        self._block = block(start.device)
        self._rows, self._images, self._claims = self.everyone, list[Tensor](), list[Claim]()

    @property
    def due(self) -> bool:
        """Whether a block of steps is over."""
        return len(self._claims) >= self._block

    def note(self, rows: Tensor, x_adv: Tensor, claim: Claim) -> None:
        """One step: images (M, ...) of the examples at ``rows`` (M,), which are the same throughout a block."""
        self._rows = rows
        self._images.append(x_adv)
        self._claims.append(claim)

    def standing(self, rows: Tensor) -> Tensor:
        """Settle all claims; the positions in ``rows`` (M,) of the examples that still stand."""
        self._settle()
        return (self._fallen[self._group[rows]] == 0).nonzero().flatten()

    def leave(self, rows: Tensor, x_adv: Tensor) -> None:
        """At the end: settle all claims; ``x_adv`` (M, ...) is what those of ``rows`` (M,) have come to that stand."""
        self._settle()
        self._enter(rows, x_adv, ~self.fooled[rows])

    def _settle(self) -> None:
        if not self._claims:
            return
        wrong = torch.stack([claim.wrong for claim in self._claims])
        doubtful = any(claim.doubtful for claim in self._claims)
        while bool(wrong.any()):
            first, holds = wrong.int().argmax(0), wrong.any(0)
            images = torch.stack(self._images)[first, torch.arange(len(first), device=first.device)]
            if doubtful and self._confirm:
                asked = holds.nonzero().flatten()
                holds = torch.zeros_like(holds).index_put((asked,), self._confirm(images[asked], self._rows[asked]))
            fell = holds & ~self.fooled[self._rows]
            self._enter(self._rows, images, fell)
            self.fooled[self._rows] |= fell
            self._fallen.index_add_(0, self._group[self._rows], fell.long())
            wrong = wrong.scatter(0, first[None], False) & ~holds
        self._images.clear()
        self._claims.clear()

    def _enter(self, rows: Tensor, x_adv: Tensor, which: Tensor) -> None:
        self.x_adv[rows] = torch.where(shaped(which, x_adv), x_adv, self.x_adv[rows])


def shaped(values: Tensor, images: Tensor) -> Tensor:
    """One value per image, (M,), shaped to broadcast over images (M, ...)."""
    return values.view(-1, *[1] * (images.dim() - 1))
