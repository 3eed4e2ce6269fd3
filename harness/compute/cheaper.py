"""The same function of the images for fewer operations, while a search asks for it."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from harness.compute.convolutions import cheaper_convolutions
from harness.compute.folding import folded
from harness.compute.images import device_of
from harness.compute.modes import is_rough
from harness.compute.recording import recorded


@contextmanager
def cheaper(model: nn.Module, *others: nn.Module) -> Iterator[None]:
    """Folded BatchNorms and faster convolutions, in float32 on a CPU; logits are the same up to rounding.

    On a GPU, passes that were recorded, if that was asked for (:mod:`harness.compute.recording`).

    For models in evaluation mode whose weights are frozen; the first one says where.
    """
    device = device_of(model)
    if device.type != "cpu":
        with recorded(model, *others):
            yield
        return
    if is_rough(device):
        yield
        return
    with folded(model, *others), cheaper_convolutions(model, *others):
        yield
