"""Features: distances with a known answer, partners of other classes, and a job that goes on where it was cut off."""

import numpy as np
import pytest
import torch
from torch import nn

from harness.api.errors import HarnessError
from harness.api.model import Heads
from harness.api.threat import Threat
from harness.compute.randomness import generator
from harness.evaluation.features import embedded, measured, partners_of
from harness.evaluation.judge import Examples


class Linear(nn.Module):
    """Two classes; features are the pixels, and class 1 gains by bright ones: attacks go to a corner of the ball."""

    def forward(self, x):
        return self.heads(x).logits

    def heads(self, x, y=None):
        features = x.flatten(1)
        return Heads(torch.stack([-features.sum(1), features.sum(1)], 1), (), features)


def test_distances_and_cosines_are_those_of_the_corners_that_pgd_reaches():
    """An image of class 1 is darkened by eps in each pixel, and one of class 0 brightened towards the label 1."""
    x = torch.randint(60, 190, (4, 1, 3, 3), generator=generator("images"), dtype=torch.uint8)
    y, partners, eps = torch.tensor([1, 0, 1, 0]), torch.tensor([1, 2]), 0.1
    natural, found = measured(
        Linear(), Examples(x, y), torch.tensor([0, 1]), partners, Threat("Linf", eps), generator(0)
    )
    pixels = x.double().flatten(1).numpy() / 255
    assert natural.numpy() == pytest.approx(pixels[:2], abs=1e-6)
    for row, (own, other, sign) in zip(found.numpy(), [(0, 1, 1), (1, 2, -1)], strict=True):
        away, towards = pixels[own] - sign * eps, pixels[other] + sign * eps
        expected = []
        for attacked in (away, towards):
            cosine = attacked @ pixels[own] / np.linalg.norm(attacked) / np.linalg.norm(pixels[own])
            expected += [np.linalg.norm(attacked - pixels[own]), cosine]
        assert row == pytest.approx(expected, abs=1e-5)


def test_partners_are_random_examples_of_another_class():
    y = torch.arange(300) % 3
    partners = partners_of(y, generator(0))
    assert (y[partners] != y).all()
    assert len(partners.unique()) > 150
    with pytest.raises(HarnessError, match="two classes, there is one"):
        partners_of(torch.ones(3), generator(0))


def test_a_model_without_features_says_what_to_add():
    examples = Examples(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1]))
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(HarnessError, match=r"Sequential hides its features: give it heads\(x, y=None\)"):
        measured(model, examples, torch.tensor([0, 1]), torch.tensor([1, 0]), Threat("Linf", 0.1), generator(0))


def test_clusters_that_lie_apart_lie_apart_in_the_map():
    """And the same seed gives the same map."""
    features = torch.randn(60, 8, generator=generator("clusters")).numpy() + 40 * (np.arange(60) % 2)[:, None]
    found = embedded(features.astype(np.float32), "tsne", 0)
    assert found.shape == (60, 2)
    centres = [found[part::2].mean(0) for part in (0, 1)]
    radius = max(np.linalg.norm(found[part::2] - centres[part], axis=1).max() for part in (0, 1))
    assert np.linalg.norm(centres[0] - centres[1]) > radius
    assert np.array_equal(found, embedded(features.astype(np.float32), "tsne", 0))


@pytest.mark.slow
def test_umap_is_another_map_where_it_is_installed():
    """Compiled for half a minute when it is first called."""
    pytest.importorskip("umap")
    features = torch.randn(40, 8, generator=generator("clusters")).numpy() + 8 * (np.arange(40) % 2)[:, None]
    found = embedded(features.astype(np.float32), "umap", 0)
    assert (found.shape, found.dtype) == ((40, 2), np.float32)
    assert np.isfinite(found).all()
