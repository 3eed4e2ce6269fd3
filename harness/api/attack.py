"""The attack contract: what an attack takes, and what it may propose."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from harness.api.registry import Registry, dataclass_flaw
from harness.api.threat import Threat


def _flaw(entry: object) -> str:
    if not isinstance(entry, type) or not any("__call__" in vars(base) for base in entry.__mro__):
        return "is no class whose objects can be called: write class MyAttack with __call__()"
    return dataclass_flaw(entry)


attacks: Registry["type[Attack]"] = Registry("attack", _flaw)
attack = attacks.add
Views = Mapping[str, nn.Module]


class Proposal(NamedTuple):
    """Adversarial examples ``x_adv`` (N, C, H, W), and which part of the attack claims to have fooled the model.

    ``part`` (N,) is a position in ``parts``, the names of the parts in the order in which they ran; -1 where none
    claims anything.
    """

    x_adv: Tensor
    part: Tensor
    parts: tuple[str, ...]

    @classmethod
    def of(cls, found: "Tensor | Proposal") -> "Proposal":
        """What an attack returned; from images alone, a proposal in which nobody claims anything."""
        if isinstance(found, Proposal):
            return found
        return cls(found, torch.full((len(found),), -1, device=found.device), ())


class Attack(Protocol):
    """A frozen dataclass whose fields are the attack's parameters; calling it attacks a batch.

    An attack that sets ``uses_views = True`` on its class finds in ``views`` the model's stand-ins and models of
    related methods trained in the same run; for the others it is empty.
    """

    summary: ClassVar[str]

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, generator: torch.Generator, views: Views
    ) -> Tensor | Proposal:
        """Adversarial examples (N, C, H, W) for images ``x`` in [0, 1] with labels ``y`` (N,).

        ``generator`` lives on the images' device. ``views`` are differentiable stand-ins for the model, which only
        adaptive attacks use. What comes back is a proposal: :func:`harness.evaluation.verify.still_correct` judges it.
        """
        ...
