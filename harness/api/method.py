"""The Method API: the objective of one optimisation step, and nothing more."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from harness.api.model import Inputs, declared_views, models
from harness.api.registry import Registry, dataclass_flaw
from harness.api.threat import Threat


def _flaw(entry: object) -> str:
    if not isinstance(entry, type) or not issubclass(entry, Method):
        return "is not derived from harness.api.method.Method: write class MyMethod(Method)"
    return "does not define loss()" if entry.__abstractmethods__ else dataclass_flaw(entry)


methods: Registry["type[Method]"] = Registry("method", _flaw)
method = methods.add


class Paper(NamedTuple):
    """Where a method comes from."""

    title: str
    url: str
    bibtex: str


@dataclass(frozen=True)
class LossTerms:
    """The scalar ``total`` that is differentiated, and the named terms kept in the history."""

    total: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """Where training stands: the epoch (from 1) and the generator, on the images' device, for all random draws."""

    epoch: int
    generator: torch.Generator


class Method(ABC):
    """One adversarial-training method: subclass as a frozen dataclass whose fields are its hyperparameters.

    The training loop owns optimiser, schedule, precision, data and checkpoints. ``dataclasses.asdict(method)`` is
    stored with every result and ``type(method)(**fields)`` rebuilds it. ``group`` is the word that selects the method
    with others on the command line; ``best_by`` is the validation accuracy that chooses its ``best`` checkpoint.
    """

    summary: ClassVar[str]
    paper: ClassVar[Paper | None] = None
    group: ClassVar[str] = "all"
    best_by: ClassVar[Literal["robust", "natural"]] = "robust"

    @abstractmethod
    def loss(self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, step: Step) -> LossTerms:
        """The loss on images ``x`` (N, C, H, W) in [0, 1] with labels ``y`` (N,), the model in training mode.

        An implementation that attacks the model does so in evaluation mode and gives every mode back.
        """

    def build_model(self, name: str, num_classes: int, inputs: Inputs) -> nn.Module:
        """The registered model ``name``, freshly initialised from torch's global generator."""
        model: nn.Module = models[name](num_classes, inputs)
        return model

    def attack_views(self, model: nn.Module) -> dict[str, nn.Module]:
        """Differentiable stand-ins for ``model`` that an attacker who knows the method would use, by name."""
        return declared_views(model)
