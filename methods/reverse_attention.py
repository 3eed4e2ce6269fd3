"""Reverse attention: feature maps weighted by the final classifier's own weights for a class.

Zhou et al. 2023 (ANCRA), https://arxiv.org/abs/2310.03358. One wrapper serves every architecture.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.api.errors import HarnessError
from harness.api.model import Classifier, Heads
from harness.compute.modes import evaluating

BLOCKS = 2
_NAME = "network."

# Auxiliary logits p (N, K) and the classifier's weight W (K, D) to channel weights (N, D).
Mask = Callable[[Tensor, Tensor], Tensor]


class ReverseAttentionNetwork(nn.Module):
    """A classifier whose last two blocks are each followed by a mask, which adds no parameters.

    For each of the two in turn: ``z = finish(block(h))`` (N, D, H', W'); ``p = W gap(z) + b`` are auxiliary logits;
    ``z' = z * mask(p, W)``, one weight for all of a channel; ``z'`` is the next ``h``. The logits are ``W gap(z') + b``
    of the last block. In a pre-activation net ``finish`` is the shared final BatchNorm and ReLU. The next block's input
    is then the finished and masked ``z'`` in place of the raw residual sum: the block's own BatchNorm and its identity
    shortcut both start from it. In training mode the shared BatchNorm normalises each block's output by that output's
    own statistics and counts both into its running ones.

    ``state_dict()`` has the names of the network's own, so that weights are exchanged with it.

    Raises:
        HarnessError: if the network's last two blocks are not as wide as its classifier's input.
    """

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network
        self.register_state_dict_post_hook(_without_name)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_with_name)  # type: ignore[no-untyped-call]
        self._check_widths()

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W) in [0, 1]."""
        return self.heads(x).logits

    def heads(self, x: Tensor, y: Tensor | None = None) -> Heads:
        """Logits, auxiliary logits and features of images (N, C, H, W) in [0, 1].

        The labels ``y`` (N,) choose the mask in training mode only; in evaluation mode and without labels the
        prediction does.
        """
        return self.masked_heads(x, label_mask(y) if self.training and y is not None else predicted_mask)

    def masked_heads(self, x: Tensor, mask: Mask) -> Heads:
        """As :meth:`heads`, with the mask given."""
        network, classifier = self.network, self.network.classifier
        blocks, auxiliary = network.blocks(), []
        h = network.through(x, blocks[:-BLOCKS])
        for block in blocks[-BLOCKS:]:
            z = network.finish(block(h))
            p = classifier(z.mean((2, 3)))
            auxiliary.append(p)
            h = z * mask(p, classifier.weight).to(z.dtype)[:, :, None, None]
        features = h.mean((2, 3))
        return Heads(classifier(features), tuple(auxiliary), features)

    def attack_views(self) -> dict[str, nn.Module]:
        """What an attacker who knows of the masks differentiates in place of this model, by name.

        ``auxiliary-1``, ``auxiliary-2``: each block's p. ``auxiliary-sum``: the log of the sum of the softmax of
        all heads, the final one included (a sum of logits is a weak view: the final logits hide the others).
        ``soft-mask``, ``straight-through``, ``no-mask``: the final logits under the mask of that name. ``fixed-mask``:
        under the mask of the class that a targeted attack aims at. The stand-ins share the model's parameters, are made
        anew on each call and are not among the model's submodules.
        """
        masks = {"soft-mask": soft_mask, "straight-through": straight_through_mask, "no-mask": no_mask}
        return {
            **{f"auxiliary-{k + 1}": HeadStandIn(self, _auxiliary(k)) for k in range(BLOCKS)},
            "auxiliary-sum": HeadStandIn(self, _sum),
            **{name: HeadStandIn(self, _logits, mask) for name, mask in masks.items()},
            "fixed-mask": AimedStandIn(self),
        }

    def _check_widths(self) -> None:
        network, wanted = self.network, self.network.classifier.in_features
        name, blocks = type(network).__name__, network.blocks()
        if len(blocks) <= BLOCKS:
            raise HarnessError(f"reverse attention needs more than {BLOCKS} blocks, {name} has {len(blocks)}")
        shape = (1, network.inputs.channels, network.inputs.size, network.inputs.size)
        with evaluating(network), torch.no_grad():
            h = network.through(torch.zeros(shape, device=network.classifier.weight.device), blocks[:-BLOCKS])
            for block in blocks[-BLOCKS:]:
                h = block(h)
                if h.shape[1] != wanted:
                    raise HarnessError(
                        f"reverse attention needs the last {BLOCKS} blocks to be as wide as the classifier's input: "
                        f"{name} has a block of {h.shape[1]} channels where the classifier takes {wanted}; "
                        "choose a deeper model"
                    )


def _without_name(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    for key in [key for key in state if key.startswith(prefix + _NAME)]:
        state[prefix + key.removeprefix(prefix + _NAME)] = state.pop(key)


def _with_name(module: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    for key in [key for key in state if key.startswith(prefix)]:
        state[prefix + _NAME + key.removeprefix(prefix)] = state.pop(key)


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


class HeadStandIn(nn.Module):
    """Images (N, C, H, W) to the logits (N, K) that ``read`` takes from the heads of ``model`` under a mask."""

    def __init__(
        self, model: ReverseAttentionNetwork, read: Callable[[Heads], Tensor], mask: Mask = predicted_mask
    ) -> None:
        super().__init__()
        self.model = model
        self.read = read
        self.mask = mask
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        """The logits that an attack differentiates."""
        return self.read(self.model.masked_heads(x, self.mask))


class AimedStandIn(HeadStandIn):
    """The logits under the mask of one class: ``view(x, target)`` with the classes ``target`` (N,)."""

    aimed = True

    def __init__(self, model: ReverseAttentionNetwork) -> None:
        super().__init__(model, _logits)

    def forward(self, x: Tensor, target: Tensor | None = None) -> Tensor:
        """What the model would say if both blocks had predicted ``target``."""
        return self.model.masked_heads(x, self.mask if target is None else label_mask(target)).logits


def _auxiliary(k: int) -> Callable[[Heads], Tensor]:
    return lambda heads: heads.auxiliary[k]


def _sum(heads: Heads) -> Tensor:
    return torch.stack((*heads.auxiliary, heads.logits)).log_softmax(2).logsumexp(0)


def _logits(heads: Heads) -> Tensor:
    return heads.logits
