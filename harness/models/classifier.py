"""The base class of every built-in model."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.models.base import Heads, Inputs
from harness.models.reverse_attention import BLOCKS, Mask, attack_views, attend, label_mask, predicted_mask


class Classifier(nn.Module, ABC):
    """Normalisation, stem, blocks, final activation, global average pooling and one linear classifier.

    A subclass supplies the parts; this class runs them in order, the last two blocks with reverse attention
    (:mod:`harness.models.reverse_attention`) if so built, which adds no parameters. Images are (N, C, H, W)
    in [0, 1], of any size. The normalisation ``(x - mean) / std`` is not part of ``state_dict()``.

    Raises:
        HarnessError: if there are fewer than two classes or the inputs contradict themselves.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, num_classes: int, inputs: Inputs, *, reverse_attention: bool = False) -> None:
        super().__init__()
        _check(num_classes, inputs)
        self.reverse_attention = reverse_attention
        for name, values in (("mean", inputs.mean), ("std", inputs.std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    @abstractmethod
    def stem(self, x: Tensor) -> Tensor:
        """Normalised images (N, C, H, W) to the first block's input."""

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """All blocks in order; the last two are as wide as the classifier's input."""

    @property
    @abstractmethod
    def classifier(self) -> nn.Linear:
        """The one final classifier (W, b), with W (classes, D)."""

    def finish(self, h: Tensor) -> Tensor:
        """The last block's output to the map that is pooled: nothing, unless blocks end before their ReLU."""
        return h

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W) in [0, 1]."""
        return self.heads(x).logits

    def heads(self, x: Tensor, y: Tensor | None = None) -> Heads:
        """Logits, auxiliary logits and features of images (N, C, H, W) in [0, 1].

        The labels ``y`` (N,) choose the mask of reverse attention in training mode only; in evaluation mode
        and without labels the prediction does. A plain model ignores them.
        """
        return self.masked_heads(x, label_mask(y) if self.training and y is not None else predicted_mask)

    def masked_heads(self, x: Tensor, mask: Mask) -> Heads:
        """As :meth:`heads`, with the mask of reverse attention given; a plain model ignores it."""
        blocks = self.blocks()
        attended = blocks[-BLOCKS:] if self.reverse_attention else []
        h = self.stem((x - self.mean) / self.std)
        for block in blocks[: len(blocks) - len(attended)]:
            h = block(h)
        if attended:
            return attend(h, attended, self.finish, self.classifier, mask)
        features = self.finish(h).mean((2, 3))
        return Heads(self.classifier(features), (), features)

    def attack_views(self) -> dict[str, nn.Module]:
        """Stand-ins for an adaptive attack, which share this model's parameters; none for a plain model."""
        return attack_views(self) if self.reverse_attention else {}


def _check(num_classes: int, inputs: Inputs) -> None:
    if num_classes < 2:
        raise HarnessError(f"a classifier needs at least 2 classes, got {num_classes}")
    for name, values in (("mean", inputs.mean), ("std", inputs.std)):
        if len(values) not in (1, inputs.channels):
            raise HarnessError(f"{name} must have 1 value or {inputs.channels}, one per channel, got {values}")
    if min(inputs.std) <= 0:
        raise HarnessError(f"std must be positive, got {inputs.std}")
