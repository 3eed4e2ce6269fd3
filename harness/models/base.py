"""What every model offers: logits from ``model(x)``, and its heads for objectives that look inside."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Inputs:
    """The images a model is built for: channels, side in pixels, and the normalisation done inside the model."""

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
