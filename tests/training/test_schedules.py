"""Learning rates and augmentation against closed forms."""

import numpy as np
import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR

from harness.api.specs import Protocol
from harness.compute.images import PADDING, augment, to_float
from harness.compute.randomness import generator
from harness.training.schedules import learning_rate


def rates(scheduler_of, epochs):
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler, seen = scheduler_of(optimizer), []
    for _ in range(epochs):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_piecewise_is_the_published_schedule_of_120_epochs():
    """Times 0.1 at epochs 75, 90 and 100, as torch's MultiStepLR does it."""
    protocol = Protocol(epochs=120, lr=0.1, schedule="piecewise")
    expected = rates(lambda optimizer: MultiStepLR(optimizer, [75, 90, 100]), 120)
    assert [learning_rate(protocol, epoch / 120) for epoch in range(120)] == pytest.approx(expected)


def test_cosine_equals_torch():
    protocol = Protocol(lr=0.1, schedule="cosine")
    expected = rates(lambda optimizer: CosineAnnealingLR(optimizer, 50), 50)
    assert [learning_rate(protocol, epoch / 50) for epoch in range(50)] == pytest.approx(expected)


def test_cyclic_rises_to_the_peak_at_40_percent_and_falls_to_zero():
    protocol = Protocol(lr=0.2, schedule="cyclic")
    assert [learning_rate(protocol, p) for p in (0.0, 0.2, 0.4, 0.7, 1.0)] == pytest.approx([0, 0.1, 0.2, 0.1, 0])


def test_constant_stays():
    assert learning_rate(Protocol(lr=0.3, schedule="constant"), 0.99) == 0.3


def test_bytes_become_floats_in_the_unit_interval():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    assert to_float(images).flatten().tolist() == pytest.approx([0.0, 0.2, 1.0])


@pytest.mark.parametrize("kind", ["crop", "crop-flip"])
def test_every_augmented_image_is_a_crop_of_the_padded_image_or_its_mirror(kind):
    """Every image is found among the 81 crops (and, with flips, their mirrors); flips occur only when asked for."""
    x = torch.rand(64, 2, 8, 8)
    out = augment(x, kind, generator(0))
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (PADDING, PADDING), (PADDING, PADDING)))
    mirrored = 0
    for index in range(len(x)):
        crops = [padded[index, :, i : i + 8, j : j + 8] for i in range(9) for j in range(9)]
        plain = any(np.array_equal(crop, out[index].numpy()) for crop in crops)
        flipped = any(np.array_equal(crop[:, :, ::-1], out[index].numpy()) for crop in crops)
        assert plain or flipped
        mirrored += flipped and not plain
    assert (10 < mirrored < 54) if kind == "crop-flip" else mirrored == 0


def test_augmentation_is_fixed_by_its_generator_and_differs_between_images():
    x = torch.rand(1, 1, 8, 8).expand(32, 1, 8, 8)
    first, again = augment(x, "crop-flip", generator(3)), augment(x, "crop-flip", generator(3))
    assert torch.equal(first, again)
    assert len({tuple(image.flatten().tolist()) for image in first}) > 10


def test_no_augmentation_gives_the_images_back():
    x = torch.rand(2, 1, 8, 8)
    assert augment(x, "none", generator(0)) is x
