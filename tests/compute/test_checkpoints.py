"""Weights in every wrapping that published checkpoints have, and what is refused."""

import argparse
import collections
import datetime
import gzip
import io
import logging
import os
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from harness.api.errors import HarnessError
from harness.compute.checkpoints import load_weights, save_weights

X = torch.ones(3)


def network(classes=3, wide=4):
    return nn.Sequential(nn.Linear(4, wide), nn.ReLU(), nn.Linear(wide, classes))


def with_entry(name, value):
    return {**network().state_dict(), name: value}


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
    "timm": (lambda s: {"state_dict": s, "args": argparse.Namespace(lr=0.1), "metric": 93.0}, "under 'state_dict'"),
    "objects": (
        lambda s: {
            "net": s,
            "odd": [datetime.date(1, 2, 3), np.arange(3), print, Around()],
        },
        "what lies under 'net'",
    ),
    "Madry": (
        lambda s: {
            "model": {"module.normalizer.mean": X}
            | prefixed(s, "module.model.")
            | prefixed({name: value + 1 for name, value in s.items()}, "module.attacker.model.")
        },
        "'model.'; left out ['module.normalizer.mean', 'module.attacker.*']",
    ),
    "averaged": (
        lambda s: {"n_averaged": torch.tensor(5), **prefixed(s, "module.")},
        "names without 'module.'; left out ['n_averaged']",
    ),
    "a loss in Lightning": (
        lambda s: {"state_dict": {"criterion.weight": X, **prefixed(s, "model.")}},
        "names without 'model.'; left out ['criterion.weight']",
    ),
    "a loss beside": (lambda s: {**s, "loss_fn.weight": X}, "weights.pt: left out ['loss_fn.weight']"),
    "values beside": (lambda s: {**s, "epoch": 3, "args": argparse.Namespace()}, "pt: left out ['epoch', 'args']"),
    "parts": (
        lambda s: {name.replace(".", "._orig_mod.module."): value for name, value in s.items()},
        "read the names of parts without 'module.' and '_orig_mod.'",
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


def test_parts_that_are_compiled_in_the_model_alone_take_plain_names(state, tmp_path):
    model = nn.Sequential(collections.OrderedDict(model=network()))
    torch.save(prefixed(state, "model._orig_mod."), tmp_path / "weights.pt")
    load_weights(tmp_path / "weights.pt", model)
    torch.save(prefixed(state, "model."), tmp_path / "plain.pt")
    compiled = nn.Sequential(collections.OrderedDict(model=nn.Sequential(collections.OrderedDict(_orig_mod=network()))))
    load_weights(tmp_path / "plain.pt", compiled)
    for found in (model, compiled):
        assert all(torch.equal(*pair) for pair in zip(found.state_dict().values(), state.values(), strict=True))


class Tied(nn.Module):
    """One weight under two names, or with ``.data`` alone."""

    def __init__(self, data=False):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
        if data:
            self.b.weight.data = self.a.weight.data
        else:
            self.b.weight = self.a.weight


@pytest.mark.parametrize("data", [False, True])
@pytest.mark.parametrize("name", ["a.weight", "b.weight"])
def test_what_the_model_ties_need_be_there_once(tmp_path, name, data):
    theirs = Tied().state_dict()
    weight = theirs.pop(name)
    save_weights(tmp_path / "weights.safetensors", theirs)
    model = Tied(data)
    load_weights(tmp_path / "weights.safetensors", model)
    assert torch.equal(model.a.weight, weight)
    assert torch.equal(model.b.weight, weight)
    save_weights(tmp_path / "other.safetensors", {**theirs, name: weight + 1})
    with pytest.raises(
        HarnessError, match=r"a.weight and b.weight differ in the file, but are one tensor in the model"
    ):
        load_weights(tmp_path / "other.safetensors", Tied(data))
    save_weights(tmp_path / "less.safetensors", {key: value for key, value in theirs.items() if "weight" not in key})
    with pytest.raises(HarnessError, match=r"missing \['a.weight', 'b.weight'\], unexpected \[\]"):
        load_weights(tmp_path / "less.safetensors", Tied(data))


def packed(kind, *names) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") if kind == "tar" else zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name)) if kind == "tar" else archive.writestr(name, b"")
    return file.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
OTHERS = {
    "pointer": (POINTER, "is a Git LFS pointer, not the weights: get them with git lfs pull"),
    "page": (b"\n<!DOCTYPE html><html>", "is a web page, not the weights: download the file itself"),
    "index": (b'{"metadata": {}, "weight_map": {}}', "is JSON text, such as an index of files"),
    "gzip": (gzip.compress(POINTER), r"is compressed \(gzip\): unpack it"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file, such as Keras writes"),
    "zip": (packed("zip", "net.pt", "README"), r"is a zip archive \(net.pt, README\): unpack it"),
    "npz": (packed("zip", "0.weight.npy"), "is an archive of NumPy arrays: save them as a state dict"),
    "script": (packed("zip", "w/data.pkl", "w/constants.pkl"), "is a TorchScript archive: give it as the model"),
    "exported": (packed("zip", "w/models/model.json"), "is a program of torch.export: give it as the model"),
    "tar": (packed("tar", "net.pt"), "is a tar archive: unpack it"),
}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".npz"])
@pytest.mark.parametrize(("content", "said"), OTHERS.values(), ids=list(OTHERS))
def test_what_is_no_file_of_weights_is_said_to_be_what_it_is(content, said, suffix, tmp_path):
    (tmp_path / f"weights{suffix}").write_bytes(content)
    with pytest.raises(HarnessError, match=f"weights file .*weights{suffix} {said}"):
        load_weights(tmp_path / f"weights{suffix}", network())


def test_a_folder_and_nothing_are_no_file_of_weights(tmp_path):
    with pytest.raises(HarnessError, match="is a folder: give a file in it"):
        load_weights(tmp_path, network())
    with pytest.raises(HarnessError, match="does not exist"):
        load_weights(tmp_path / "nowhere.pt", network())


@pytest.mark.parametrize("name", ["w.pt", "w.SAFETENSORS", "w.safetensors", "w"])
@pytest.mark.parametrize("save", [save_weights, lambda path, state: torch.save(state, path)])
def test_the_name_of_a_file_does_not_matter(name, save, state, tmp_path):
    save(tmp_path / name, state)
    model = network()
    load_weights(tmp_path / name, model)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_whatever_a_models_own_loading_raises_is_a_sentence(state, tmp_path):
    class Own(nn.Linear):
        def get_extra_state(self):
            return {"version": 1}

        def set_extra_state(self, _):
            raise KeyError("version 2")

    torch.save(Own(4, 3).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(HarnessError, match="does not fit Own: 'version 2'"):
        load_weights(tmp_path / "weights.pt", Own(4, 3))


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
    torch.save({"state_dict": network(), "epoch": 3}, tmp_path / "beside.pt")
    torch.save({"state_dict": Secret()}, tmp_path / "evil.pt")
    torch.save({"state_dict": state, "root": os.getcwd}, tmp_path / "blocked.pt")
    torch.save(Secret(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps({"state_dict": Secret()}, protocol=2))
    what = {"model": "torch.nn.*Sequential", "beside": "torch.nn.*Sequential", "blocked": "posix.getcwd"}
    for name in ("model.pt", "beside.pt", "evil.pt", "blocked.pt", "old.pt", "pickle.pt"):
        said = rf"holds more than weights \(a pickled {what.get(name[:-3], '.*print')}\)"
        said = "cannot be read: it is neither safetensors nor .* but a pickle" if name == "pickle.pt" else said
        with pytest.raises(HarnessError, match=rf"{said}.*torch.save\(model.state_dict\(\)") as caught:
            load_weights(tmp_path / name, network())
        assert "weights_only" not in str(caught.value)
        assert "allow" not in str(caught.value)
    assert capsys.readouterr().out == ""


def test_a_damaged_file_is_said_to_be(state, tmp_path):
    torch.save(state, tmp_path / "weights.pt")
    whole = (tmp_path / "weights.pt").read_bytes()
    save_weights(tmp_path / "w.safetensors", state)
    safe = (tmp_path / "w.safetensors").read_bytes()
    for content, said in (
        (whole[: len(whole) // 2], "it is damaged or not whole"),
        (safe[:-5], "Error while deserializing header"),
        (safe[:6], "it is neither safetensors nor written by torch.save"),
        (b"hello", "it is neither safetensors nor written by torch.save"),
        (b"", "it is empty"),
    ):
        for name in ("weights.pt", "weights.safetensors"):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(HarnessError, match=f"{name} cannot be read: {said}"):
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
        (
            lambda: {f"model.{name}": value for name, value in nn.Linear(4, 3).state_dict().items()} | {"0.bias": X},
            r"missing \['0.weight', '2.bias', '2.weight'\], unexpected \['model.bias', 'model.weight'\]$",
        ),
        (lambda: network(wide=5).state_dict(), r"0.weight is \(5, 4\) in the file and \(4, 4\) in the model$"),
        (lambda: with_entry("2.bias", torch.ones(())), r"2.bias is \(\) in the file and \(3,\) in the model$"),
        (lambda: with_entry("0.bias", torch.ones(5)), r"0.bias is \(5,\) in the file and \(4,\) in the model$"),
        (lambda: with_entry("2.bias", [0.0] * 3), r"2.bias in the file is no tensor but of type list"),
        (
            lambda: with_entry("2.bias", argparse.Namespace()),
            r"2.bias in the file is no tensor but of type argparse.Namespace",
        ),
        (lambda: with_entry("2.bias", X.to("meta")), r"2.bias has no values in the file \(.* meta"),
        (
            lambda: with_entry("2.bias", torch.ones(3, dtype=torch.int8)),
            r"2.bias is torch.int8 in the file and",
        ),
        (lambda: with_entry("2.more", X), r"missing \[\], unexpected \['2.more'\]$"),
        (lambda: with_entry(0, X), r"must hold a state dict with texts for names, got the name 0"),
        (lambda: {0: X}, r"must hold a state dict with texts for names, got the name 0"),
        (lambda: X, r"must hold a state dict, got Tensor"),
        (lambda: {"epoch": 3}, r"must hold a state dict, got a mapping with the keys epoch"),
        (lambda: [1, 2], r"must hold a state dict, got list"),
    ],
)
def test_weights_of_another_model_are_refused_by_what_differs(saved, message, tmp_path):
    torch.save(saved(), tmp_path / "weights.pt")
    with pytest.raises(HarnessError, match=message):
        load_weights(tmp_path / "weights.pt", network())
