"""The squares that Square tries: how it starts, what it proposes, and how a proposal is kept. One class for each norm.

Andriushchenko et al. 2020, https://arxiv.org/abs/1912.00049: algorithm 2 (Linf) and algorithm 3 (L2).
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from harness.api.threat import Threat
from harness.attacks.search.found import block, shaped

Window = tuple[slice, slice]

_TINY = 1e-12
_TILES = 5
# Up to so many different squares of one size it is remembered which were tried.
_REMEMBERED = 1024


class Moved(NamedTuple):
    """Images ``x`` (M, C, H, W) with one square changed, of the examples at ``rows`` (M,); ``key`` names the square."""

    x: Tensor
    rows: Tensor
    key: int = -1


class Moves(ABC):
    """Proposals around images ``x`` (N, C, H, W); all examples share the random square, drawn on the CPU.

    ``chooses``: which examples a square may help is looked up for each, where no GPU has to be waited for.
    """

    def __init__(self, threat: Threat, x: Tensor, generator: torch.Generator) -> None:
        self.threat, self.original = threat, x
        self.channels, self.height, self.width = x.shape[1:]
        self.generator = generator
        self.chooses = block(x.device) == 1
        seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
        self.draws = torch.Generator().manual_seed(seed)

    @abstractmethod
    def start(self) -> Tensor:
        """Where the search begins: (N, C, H, W) in the ball."""

    @abstractmethod
    def propose(self, x_adv: Tensor, rows: Tensor, side: float) -> Moved:
        """One square of about ``side`` pixels changed in ``x_adv[rows]``; maybe without examples it cannot help."""

    def settle(self, x_adv: Tensor, moved: Moved, better: Tensor) -> None:
        """Keep the proposals that are ``better``, bool (M,), in ``x_adv``."""
        x_adv[moved.rows] = torch.where(shaped(better, moved.x), moved.x, x_adv[moved.rows])

    @abstractmethod
    def forget(self) -> None:
        """The model has changed: what it turned down before may help now."""

    def uniform(self, count: int) -> list[float]:
        """Numbers in [0, 1)."""
        numbers: list[float] = torch.rand(count, generator=self.draws).tolist()
        return numbers

    def window(self, side: int) -> Window:
        """A square of that side anywhere in the image."""
        down, across = self.uniform(2)
        top, left = int(down * (self.height - side + 1)), int(across * (self.width - side + 1))
        return slice(top, top + side), slice(left, left + side)

    def signs(self, *shape: int) -> Tensor:
        """-1 or 1, each as likely, on the images' device."""
        coins = torch.randint(2, shape, generator=self.generator, device=self.generator.device)
        return (2 * coins - 1).to(self.original)


class LinfMoves(Moves):
    """In a square, each channel goes all the way up or all the way down."""

    def __init__(self, threat: Threat, x: Tensor, generator: torch.Generator) -> None:
        super().__init__(threat, x, generator)
        self.bounds = torch.stack([(x - threat.eps).clamp(min=0), (x + threat.eps).clamp(max=1)])
        self.side = 0
        self.tried: Tensor | None = None

    def start(self) -> Tensor:
        """Vertical stripes."""
        stripes = self.signs(len(self.original), self.channels, 1, self.width)
        return torch.where(stripes > 0, self.bounds[1], self.bounds[0])

    def propose(self, x_adv: Tensor, rows: Tensor, side: float) -> Moved:
        """See :meth:`Moves.propose`."""
        size = min(max(round(side), 1), self.height, self.width)
        if size != self.side:
            self.side = size
            self.forget()
        down, across = self.window(size)
        ups = [coin < 0.5 for coin in self.uniform(self.channels)]
        key = (down.start * (self.width - size + 1) + across.start) * 2**self.channels
        key += sum(2**channel for channel, up in enumerate(ups) if up)
        if self.tried is not None:
            rows = rows[~self.tried[rows, key]]
        target = torch.stack([self.bounds[int(up), rows, channel, down, across] for channel, up in enumerate(ups)], 1)
        if self.chooses:
            changes = (x_adv[rows, :, down, across] != target).flatten(1).any(1)
            if not bool(changes.all()):
                rows, target = rows[changes], target[changes]
        x = x_adv[rows]
        x[:, :, down, across] = target
        return Moved(x, rows, key)

    def settle(self, x_adv: Tensor, moved: Moved, better: Tensor) -> None:
        """See :meth:`Moves.settle`; a changed image may be helped by what did not help before."""
        super().settle(x_adv, moved, better)
        if self.tried is not None:
            self.tried[moved.rows[better]] = False
            self.tried[moved.rows[~better], moved.key] = True

    def forget(self) -> None:
        """See :meth:`Moves.forget`."""
        squares = (self.height - self.side + 1) * (self.width - self.side + 1) * 2**self.channels
        shape = (len(self.original), squares)
        few = self.chooses and squares <= _REMEMBERED
        self.tried = torch.zeros(shape, dtype=torch.bool, device=self.original.device) if few else None


class L2Moves(Moves):
    """The perturbation is heaped up in one square, with what another square held and what the ball leaves unused."""

    def start(self) -> Tensor:
        """Tiles of random sign over the image, as far as whole tiles go."""
        side = max(min(self.height, self.width) // _TILES, 1)
        down, across = self.height // side, self.width // side
        signs = self.signs(len(self.original), self.channels, down, 1, across, 1)
        tiles = (signs * self._bump(side).view(side, 1, side)).reshape(*signs.shape[:2], down * side, across * side)
        top, left = (self.height - down * side) // 2, (self.width - across * side) // 2
        delta = torch.zeros_like(self.original)
        delta[:, :, top : top + down * side, left : left + across * side] = tiles
        return self._on_sphere(self.original, delta)

    def propose(self, x_adv: Tensor, rows: Tensor, side: float) -> Moved:
        """See :meth:`Moves.propose`."""
        size = max(round(side), 3)
        size = min(size + (size % 2 == 0), self.height, self.width)
        original = self.original[rows]
        delta = x_adv[rows] - original
        (down, across), (down_2, across_2) = self.window(size), self.window(size)
        unused = (self.threat.eps**2 - delta.square().sum((1, 2, 3), keepdim=True)).clamp(min=0)
        held = delta[:, :, down, across].square().sum((2, 3), keepdim=True)
        covered = torch.zeros(self.height, self.width, device=delta.device)
        covered[down, across] = covered[down_2, across_2] = 1
        available = ((delta * covered).square().sum((2, 3), keepdim=True) + unused / self.channels).sqrt()
        heap = self._bump(size) * self.signs(len(rows), self.channels, 1, 1)
        heap = heap + delta[:, :, down, across] / (held.sqrt() + _TINY)
        delta[:, :, down_2, across_2] = 0
        delta[:, :, down, across] = available * heap / (heap.square().sum((2, 3), keepdim=True).sqrt() + _TINY)
        return Moved(self._on_sphere(original, delta), rows)

    def forget(self) -> None:
        """See :meth:`Moves.forget`; nothing is remembered."""

    def _on_sphere(self, original: Tensor, delta: Tensor) -> Tensor:
        return (original + self.threat.eps * self.threat.direction(delta)).clamp(0, 1)

    def _bump(self, side: int) -> Tensor:
        """Equation 2: two pyramids of opposite sign side by side, of length 1, upright or lying."""
        half = side // 2
        bump = torch.cat([_pyramid(half, side), -_pyramid(side - half, side)]) if half else torch.ones(1, side)
        bump = bump / bump.norm()
        turned: Tensor = bump.T if self.uniform(1)[0] < 0.5 else bump
        return turned.to(self.original, non_blocking=True)


def _pyramid(height: int, width: int) -> Tensor:
    """Layers ``1 / (n + 1 - k)^2``, k = 0 ... n, each a ring further in than the one below: (height, width)."""
    n = max(height, width) // 2
    rows = (torch.arange(height) - height // 2).abs()
    columns = (torch.arange(width) - width // 2).abs()
    top = n - torch.maximum(rows[:, None], columns[None, :])
    layers = torch.tensor([1 / (n + 1 - k) ** 2 for k in range(n + 1)])
    pyramid: Tensor = layers.cumsum(0)[top]
    return pyramid


def moves_for(threat: Threat, x: Tensor, generator: torch.Generator) -> Moves:
    """The squares of the threat's norm."""
    return (LinfMoves if threat.norm == "Linf" else L2Moves)(threat, x, generator)
