"""Weights in every wrapping that published checkpoints have, and what is refused."""

import logging
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from harness.api.errors import HarnessError
from harness.compute.checkpoints import load_weights, save_weights


def network(classes=3):
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, classes))


class Around(nn.Module):
    """A model whose own names begin with ``model.``, as those of wrappers with normalisation do."""

    def __init__(self):
        super().__init__()
        self.model = network()


@pytest.fixture
def state():
    torch.manual_seed(1)
    return network().state_dict()


def prefixed(state, prefix):
    return {prefix + name: value for name, value in state.items()}


WRAPPINGS = {
    "plain": (lambda s: s, None),
    "state_dict": (lambda s: {"state_dict": s, "epoch": 3}, "what lies under 'state_dict'"),
    "ema": (lambda s: {"state_dict_ema": s}, "what lies under 'state_dict_ema'"),
    "net": (lambda s: {"net": s, "acc": np.float64(93.1)}, "what lies under 'net'"),
    "old numpy scalar": (lambda s: {"net": s, "acc": np.float32(93.1)}, "what lies under 'net'"),
    "twice": (lambda s: {"model": {"state_dict": s}}, "what lies under 'model'.'state_dict'"),
    "parallel": (lambda s: prefixed(s, "module."), "names without 'module.'"),
    "compiled": (lambda s: prefixed(s, "_orig_mod."), "names without '_orig_mod.'"),
    "lightning": (
        lambda s: {"state_dict": prefixed(s, "model.")},
        "what lies under 'state_dict' and names without 'model.'",
    ),
    "compiled in parallel": (lambda s: prefixed(s, "module._orig_mod."), "'module.' and names without '_orig_mod.'"),
}


@pytest.mark.parametrize(("wrap", "said"), WRAPPINGS.values(), ids=list(WRAPPINGS))
def test_the_usual_wrappings_are_taken_off_and_named(wrap, said, state, tmp_path, caplog):
    torch.save(wrap(state), tmp_path / "weights.pt")
    model = network()
    with caplog.at_level(logging.WARNING, "harness"):
        load_weights(tmp_path / "weights.pt", model)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert (said in caplog.text) if said else not caplog.text


def test_a_prefix_that_is_the_models_own_stays(tmp_path, caplog):
    model = Around()
    save_weights(tmp_path / "weights.safetensors", model.state_dict())
    load_weights(tmp_path / "weights.safetensors", Around())
    assert not caplog.text


class Secret:
    def __reduce__(self):
        return (print, ("run",))


def test_what_is_not_weights_is_refused_with_the_line_that_saves_them(state, tmp_path, capsys):
    """Nothing in the file is run, and torch's advice to read it unsafely is not passed on."""
    torch.save(network(), tmp_path / "model.pt")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"state_dict": Secret()}, protocol=2))
    for name in ("model.pt", "evil.pt"):
        with pytest.raises(HarnessError, match=r"holds more than weights .*torch.save\(model.state_dict\(\)") as caught:
            load_weights(tmp_path / name, network())
        assert "weights_only" not in str(caught.value)
        assert "allow" not in str(caught.value)
    assert capsys.readouterr().out == ""


def test_a_damaged_file_is_said_to_be(state, tmp_path):
    torch.save(state, tmp_path / "weights.pt")
    whole = (tmp_path / "weights.pt").read_bytes()
    for name, content in (("half.pt", whole[: len(whole) // 2]), ("empty.pt", b""), ("text.safetensors", b"hello")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(HarnessError, match=f"{name} (cannot be read|holds more than weights)"):
            load_weights(tmp_path / name, network())


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (
            lambda: network(10).state_dict(),
            r"2.weight is \(10, 4\) in the file and \(3, 4\) in the model: made for 10",
        ),
        (
            lambda: nn.Linear(4, 3).state_dict(),
            r"missing \['0.bias', '0.weight', '2.bias'\], unexpected \['bias', 'w",
        ),
        (lambda: {"epoch": 3}, r"must hold a state dict, got a mapping with the keys epoch"),
        (lambda: [1, 2], r"must hold a state dict, got list"),
    ],
)
def test_weights_of_another_model_are_refused_by_what_differs(saved, message, tmp_path):
    torch.save(saved(), tmp_path / "weights.pt")
    with pytest.raises(HarnessError, match=message):
        load_weights(tmp_path / "weights.pt", network())
