"""When a search computes a model's logits for fewer operations."""

import pytest
import torch
from torch import nn

from harness.api.model import Inputs
from harness.compute.modes import computing_in
from harness.evaluation.cheaper import cheaper
from harness.models.small_cnn import SmallCNN


@pytest.mark.parametrize(
    ("precision", "views", "folds"), [("float32", {}, 4), ("bfloat16", {}, 0), ("float32", {"view": nn.Identity()}, 0)]
)
def test_only_in_float32_and_without_stand_ins(precision: str, views: dict[str, nn.Module], folds: int) -> None:
    """Also inside another module; and afterwards nothing is left of it."""
    model = nn.Sequential(SmallCNN(10, Inputs(1, 8)))

    def folded() -> int:
        return sum("forward" in vars(module) for module in model.modules())

    with computing_in(precision, torch.device("cpu")), cheaper(model, views):
        assert folded() == folds
    assert folded() == 0
