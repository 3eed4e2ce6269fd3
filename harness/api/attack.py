"""The attack contract: what an attack takes, and what it may propose; and attacks that take several rounds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

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
    claims anything. ``margin`` (N,), by which later rounds may choose, is how near each example came to an error: the
    least difference between the label's logit and the highest other one.
    """

    x_adv: Tensor
    part: Tensor
    parts: tuple[str, ...]
    margin: Tensor | None = None

    @classmethod
    def of(cls, found: "Tensor | Proposal") -> "Proposal":
        """What an attack returned; from images alone, a proposal in which nobody claims anything."""
        if isinstance(found, Proposal):
            return found
        return cls(found, torch.full((len(found),), -1, device=found.device), ())


class Attack(Protocol):
    """A frozen dataclass whose fields are the attack's parameters; calling it attacks a batch.

    An attack that sets ``uses_views = True`` on its class finds in ``views`` the model's stand-ins and models of
    related methods trained in the same run; for the others it is empty. One that goes on by what it has seen of the
    whole test set is :class:`InRounds` besides.
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


class Survey(NamedTuple):
    """What the rounds so far have shown of all N examples, on the CPU.

    ``standing`` bool (N,), where the model is still right; ``margin`` (N,), the least that any proposal gave
    (infinite: none did); ``round`` (N,), the number of the last round that attacked the example, -1 if none did.
    """

    standing: Tensor
    margin: Tensor
    round: Tensor


class Round(NamedTuple):
    """One search, called as an :class:`Attack` is, over examples chosen once the round before is through.

    ``choose`` maps the survey, and a generator on the CPU, to positions (M,) of standing examples.
    """

    name: str
    search: Callable[..., Tensor | Proposal]
    choose: Callable[[Survey, torch.Generator], Tensor]


class Spared(NamedTuple):
    """Positions (M,) of standing examples that had a part of the attack only; ``may_fall`` of them to the whole.

    That no more of them would fall holds with 95 % confidence.
    """

    positions: Tensor
    may_fall: int


@runtime_checkable
class InRounds(Protocol):
    """An attack that takes several rounds, each over examples of the whole test set that it chooses by the survey."""

    @property
    def rounds(self) -> tuple[Round, ...]:
        """In the order in which they are run."""
        ...

    def spared(self, survey: Survey) -> Spared:
        """What the survey after the last round leaves open."""
        ...


@dataclass(frozen=True)
class OneRound:
    """Any other attack: one round over all that the model gets right, which leaves nothing open."""

    attack: Attack

    @property
    def rounds(self) -> tuple[Round, ...]:
        """The one."""
        return (Round("batch", self.attack, everything),)

    def spared(self, survey: Survey) -> Spared:
        """Nothing."""
        return Spared(torch.zeros(0, dtype=torch.long), 0)


def everything(survey: Survey, _: torch.Generator) -> Tensor:
    """The positions (M,) of all standing examples."""
    return survey.standing.nonzero().flatten()
