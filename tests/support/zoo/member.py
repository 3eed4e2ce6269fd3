"""What the zoo knows of one of its animals."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from zoo.bases import Bases

Make = Callable[[Bases, int], nn.Module]
Wrap = Callable[[nn.Module], nn.Module]


@dataclass(frozen=True)
class Member:
    """A model and what is known of it.

    ``make`` builds it for a seed. ``truth`` is whose worst case is its own: the method of an undefended base, or a
    builder of the same model with the mask off; None for an honest model, which is its own. ``wrap`` is the mechanism
    around any classifier of images in [0, 1]; None where it has to be trained. A ``saboteur`` is written against
    whoever evaluates it: it has to be flagged, and no more is asked.
    """

    name: str
    mechanism: str
    make: Make
    truth: str | Make | None = None
    wrap: Wrap | None = None
    saboteur: bool = False


def around(
    base: str, name: str, mechanism: str, wrap: Wrap, reveal: Wrap | None = None, *, saboteur: bool = False
) -> Member:
    """A mechanism around the base of a method.

    ``reveal`` builds the same function with an honest gradient, where the mechanism is part of what is computed;
    without it, the bare base is the truth.
    """

    def make(zoo: Bases, seed: int) -> nn.Module:
        return wrap(zoo.trained(base, seed))

    def unmasked(zoo: Bases, seed: int) -> nn.Module:
        assert reveal
        return reveal(zoo.trained(base, seed))

    return Member(name, mechanism, make, unmasked if reveal else base, wrap, saboteur)
