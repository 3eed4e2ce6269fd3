"""What every model offers: logits from ``model(x)``, and its heads for objectives that look inside."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from harness.api.errors import HarnessError
from harness.api.registry import Registry

# Called as build(num_classes, inputs): the model, freshly initialised from torch's global generator.
models: Registry[Callable[..., Any]] = Registry("model")
model = models.add


@dataclass(frozen=True)
class Inputs:
    """The images a model is built for: channels, longer side in pixels, and the normalisation done inside the model."""

    channels: int = 3
    size: int = 32
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


class Heads(NamedTuple):
    """Everything a model says about a batch of N images with K classes.

    ``logits`` (N, K) are the model's output, ``auxiliary`` holds the (N, K) logits of each auxiliary classifier
    (none in a plain model), ``features`` (N, D) are what the final classifier sees (None if the model hides them).
    """

    logits: Tensor
    auxiliary: tuple[Tensor, ...] = ()
    features: Tensor | None = None


def heads_of(model: nn.Module, x: Tensor, y: Tensor | None = None) -> Heads:
    """The model's heads on images ``x`` (N, C, H, W), in float32; for any module, ``model(x)`` and no auxiliaries.

    ``y`` (N,) are the labels, for models whose forward pass may use them in training (reverse attention).
    """
    own: Callable[[Tensor, Tensor | None], Heads] | None = getattr(model, "heads", None)
    heads = own(x, y) if own else Heads(model(x))
    features = None if heads.features is None else heads.features.float()
    return Heads(heads.logits.float(), tuple(logits.float() for logits in heads.auxiliary), features)


def over_heads(term: Callable[..., Tensor], *heads: Heads, weight: float) -> Tensor:
    """``term(logits) + weight * mean over the auxiliary heads of term(auxiliary)``.

    With several ``Heads`` the term is given the corresponding logits of each. A plain model has no auxiliaries, so
    the same objective serves both.
    """
    total = term(*(h.logits for h in heads))
    auxiliary = [term(*each) for each in zip(*(h.auxiliary for h in heads), strict=True)]
    return total + weight * torch.stack(auxiliary).mean() if auxiliary else total


def declared_views(model: nn.Module) -> dict[str, nn.Module]:
    """The stand-ins that a model names for itself in ``attack_views()``; none for a plain module."""
    own: Callable[[], dict[str, nn.Module]] | None = getattr(model, "attack_views", None)
    return own() if own else {}


class Classifier(nn.Module, ABC):
    """Normalisation, stem, blocks, final activation, global average pooling and one linear classifier.

    A subclass supplies the parts; this class runs them in order. A method may run them otherwise, with something of
    its own between the blocks. Images are (N, C, H, W) in [0, 1], of any size. The normalisation ``(x - mean) / std``
    is not part of ``state_dict()``.

    Raises:
        HarnessError: if there are fewer than two classes or the inputs contradict themselves.
    """

    inputs: Inputs
    mean: Tensor
    std: Tensor

    def __init__(self, num_classes: int, inputs: Inputs) -> None:
        super().__init__()
        _check(num_classes, inputs)
        self.inputs = inputs
        for name, values in (("mean", inputs.mean), ("std", inputs.std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    @abstractmethod
    def stem(self, x: Tensor) -> Tensor:
        """Normalised images (N, C, H, W) to the first block's input."""

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """All blocks in order."""

    @property
    @abstractmethod
    def classifier(self) -> nn.Linear:
        """The one final classifier (W, b), with W (classes, D)."""

    def finish(self, h: Tensor) -> Tensor:
        """The last block's output to the map that is pooled: nothing, unless blocks end before their ReLU."""
        return h

    def through(self, x: Tensor, blocks: list[nn.Module]) -> Tensor:
        """Images (N, C, H, W) in [0, 1] through normalisation, stem and these blocks."""
        h = self.stem((x - self.mean) / self.std)
        for block in blocks:
            h = block(h)
        return h

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W) in [0, 1]."""
        return self.heads(x).logits

    def heads(self, x: Tensor, y: Tensor | None = None) -> Heads:
        """Logits and features of images (N, C, H, W) in [0, 1], whatever the labels ``y`` (N,)."""
        features = self.finish(self.through(x, self.blocks())).mean((2, 3))
        return Heads(self.classifier(features), (), features)


def _check(num_classes: int, inputs: Inputs) -> None:
    if num_classes < 2:
        raise HarnessError(f"a classifier needs at least 2 classes, got {num_classes}")
    for name, values in (("mean", inputs.mean), ("std", inputs.std)):
        if len(values) not in (1, inputs.channels):
            raise HarnessError(f"{name} must have 1 value or {inputs.channels}, one per channel, got {values}")
    if min(inputs.std) <= 0:
        raise HarnessError(f"std must be positive, got {inputs.std}")
