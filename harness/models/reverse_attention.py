"""Reverse attention: feature maps weighted by the final classifier's own weights for a class.

Zhou et al. 2023 (ANCRA), https://arxiv.org/abs/2310.03358. One implementation serves every architecture.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.models.base import Heads

if TYPE_CHECKING:
    from harness.models.classifier import Classifier

BLOCKS = 2

# Auxiliary logits p (N, K) and the classifier's weight W (K, D) to channel weights (N, D).
Mask = Callable[[Tensor, Tensor], Tensor]


def label_mask(y: Tensor) -> Mask:
    """The mask ``W[y]`` of the labels ``y`` (N,), whatever the model predicts."""
    return lambda p, weight: F.embedding(y, weight)


def predicted_mask(p: Tensor, weight: Tensor) -> Tensor:
    """The mask ``W[argmax p]``: differentiable in W, constant in p."""
    return F.embedding(p.argmax(1), weight)


def soft_mask(p: Tensor, weight: Tensor) -> Tensor:
    """The mask ``softmax(p) @ W``, which an attacker can differentiate in p as well."""
    return p.softmax(1) @ weight


def straight_through_mask(p: Tensor, weight: Tensor) -> Tensor:
    """The value of :func:`predicted_mask` with the gradient of :func:`soft_mask`."""
    soft = soft_mask(p, weight)
    return soft + (predicted_mask(p, weight) - soft).detach()


def no_mask(p: Tensor, weight: Tensor) -> Tensor:
    """Ones: every channel passes as it is."""
    return torch.ones(len(p), weight.shape[1], dtype=weight.dtype, device=weight.device)


def attend(
    h: Tensor,
    blocks: Sequence[nn.Module],
    finish: Callable[[Tensor], Tensor],
    classifier: nn.Linear,
    mask: Mask,
) -> Heads:
    """Run the last blocks on ``h`` (N, C, H, W), each followed by a mask.

    For each block in turn: ``z = finish(block(h))`` (N, D, H', W'); ``p = W gap(z) + b`` are auxiliary
    logits; ``z' = z * mask(p, W)``, one weight for all of a channel; ``z'`` is the next ``h``. The logits
    are ``W gap(z') + b`` of the last block.

    In a pre-activation net ``finish`` is the shared final BatchNorm and ReLU. The next block's input is then
    the finished and masked ``z'`` in place of the raw residual sum: the block's own BatchNorm and its
    identity shortcut both start from it. In training mode the shared BatchNorm normalises each block's
    output by that output's own statistics and counts both into its running ones.
    """
    auxiliary = []
    for block in blocks:
        z = finish(block(h))
        p = classifier(z.mean((2, 3)))
        auxiliary.append(p)
        h = z * mask(p, classifier.weight).to(z.dtype)[:, :, None, None]
    features = h.mean((2, 3))
    return Heads(classifier(features), tuple(auxiliary), features)


class View(nn.Module):
    """Images (N, C, H, W) to the logits (N, K) that ``read`` takes from the heads of ``model``."""

    def __init__(self, model: "Classifier", read: Callable[[Heads], Tensor], mask: Mask = predicted_mask) -> None:
        super().__init__()
        self.model = model
        self.read = read
        self.mask = mask
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        """The logits that an attack differentiates."""
        return self.read(self.model.masked_heads(x, self.mask))


class AimedView(View):
    """The logits under the mask of one class: ``view(x, target)`` with the classes ``target`` (N,)."""

    aimed = True

    def __init__(self, model: "Classifier") -> None:
        super().__init__(model, _logits)

    def forward(self, x: Tensor, target: Tensor | None = None) -> Tensor:
        """What the model would say if both blocks had predicted ``target``."""
        return self.model.masked_heads(x, self.mask if target is None else label_mask(target)).logits


def attack_views(model: "Classifier") -> dict[str, nn.Module]:
    """What an attacker who knows of the masks differentiates in place of ``model``, by name.

    ``auxiliary-1``, ``auxiliary-2``: each block's p. ``auxiliary-sum``: the log of the sum of the softmax of
    all heads, the final one included (a sum of logits is a weak view: the final logits hide the others).
    ``soft-mask``, ``straight-through``, ``no-mask``: the final logits under the mask of that name. ``fixed-mask``:
    under the mask of the class that a targeted attack aims at. The views share the model's parameters, are made
    anew on each call and are not among the model's submodules.
    """
    views: dict[str, nn.Module] = {f"auxiliary-{k + 1}": View(model, _auxiliary(k)) for k in range(BLOCKS)}
    views["auxiliary-sum"] = View(model, _sum)
    masks = {"soft-mask": soft_mask, "straight-through": straight_through_mask, "no-mask": no_mask}
    views |= {name: View(model, _logits, mask) for name, mask in masks.items()}
    views["fixed-mask"] = AimedView(model)
    return views


def _auxiliary(k: int) -> Callable[[Heads], Tensor]:
    return lambda heads: heads.auxiliary[k]


def _sum(heads: Heads) -> Tensor:
    return torch.stack((*heads.auxiliary, heads.logits)).log_softmax(2).logsumexp(0)


def _logits(heads: Heads) -> Tensor:
    return heads.logits
