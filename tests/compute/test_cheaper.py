"""When a search computes a model's logits for fewer operations."""

import pytest
import torch
from torch import nn

from harness.api.model import Inputs
from harness.compute.cheaper import cheaper
from harness.compute.modes import computing_in
from harness.compute.recording import SWITCH
from harness.models.small_cnn import SmallCNN


@pytest.mark.parametrize(("precision", "folds"), [("float32", 6), ("bfloat16", 0)])
def test_only_in_float32(precision: str, folds: int) -> None:
    """Four norms and two convolutions, also inside another module, and once where two share one; then nothing."""
    network = SmallCNN(10, Inputs(1, 8))
    model, view = nn.Sequential(network), nn.Sequential(network, nn.Identity())

    def changed() -> int:
        return sum("forward" in vars(module) for module in model.modules())

    with computing_in(precision, torch.device("cpu")), cheaper(model, view):
        assert changed() == folds
    assert changed() == 0


@pytest.mark.parametrize(("switch", "changes"), [("1", {"heads"}), ("0", set())])
def test_elsewhere_than_on_a_cpu_passes_are_recorded_where_that_is_asked_for(
    switch: str, changes: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, switch)
    model = SmallCNN(10, Inputs(1, 8)).to("meta")
    before = set(vars(model))
    with cheaper(model):
        assert vars(model).keys() - before == changes
        assert not any("forward" in vars(module) for module in model.modules())
