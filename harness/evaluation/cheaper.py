"""The same function of the images for fewer operations, while a search asks for it."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from harness.api.attack import Views
from harness.compute.folding import folded
from harness.compute.images import device_of
from harness.compute.modes import is_rough
from harness.compute.winograd import fewer_multiplications


@contextmanager
def cheaper(model: nn.Module, views: Views) -> Iterator[None]:
    """Folded BatchNorms and faster convolutions, in float32 on a CPU; logits are the same up to rounding.

    Not where there are stand-ins, which may look at how the model computes. What the search finds is judged outside.
    """
    device = device_of(model)
    if views or device.type != "cpu" or is_rough(device):
        yield
        return
    with folded(model), fewer_multiplications(model):
        yield
