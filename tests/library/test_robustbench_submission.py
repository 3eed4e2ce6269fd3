"""A submission there and back: a real workspace, ``harness submit``, and RobustBench's own code on what it wrote."""

import json
import logging
import shutil
import subprocess
import sys
from argparse import Namespace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import harness
from jinja2 import DictLoader
from safetensors.torch import load_file
from torchvision.datasets import CIFAR10

from harness.api.data import Data, Split
from harness.api.specs import TrainSpec, parse_spec
from harness.api.threat import Threat
from harness.datasets import standard
from harness.datasets.cache import cached
from harness.datasets.download import Archive
from harness.evaluation.job import checkpoint_model
from harness.library import robustbench_compat
from harness.plugins import import_file
from results.layout import JobFiles

THREAT = Threat("Linf", 8 / 255)
NAME = "Zhou2023Enhancing_Tiny"
WORDS = ["--name", NAME, "--title", "Enhancing Robust Representation", "--authors", "Ada Lovelace, Alan Turing"]
WORDS += ["--paper-url", "https://arxiv.org/abs/2310.03358", "--venue", "arXiv, Oct 2023"]


def pictures() -> Data:
    """Dark and bright noise in the place of CIFAR-10, of 8x8 pixels; all test images but the first are nearly grey."""
    random = np.random.default_rng(0)

    def split(levels):
        noise = random.integers(-10, 11, (len(levels), 3, 8, 8))
        return Split(
            (np.array(levels)[:, None, None, None] + noise).clip(0, 255).astype(np.uint8), np.array(levels) // 128
        )

    test = split([90, 126, 131, 127])
    return Data("cifar10", split([105, 151] * 80), test, tuple(map(str, range(10))))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folders ``data``, ``runs`` and ``out``, and ``test.npz`` with the test images."""
    root = tmp_path_factory.mktemp("submission")
    archive = Archive("cifar10", CIFAR10.url, CIFAR10.tgz_md5, root / "data" / CIFAR10.filename)
    data = cached(root / "data", standard._key([archive]), pictures)
    np.savez(root / "test.npz", x_test=data.test.images, y_test=data.test.labels)
    where = ["--workspace", root / "runs", "--data-root", root / "data", "--dataset", "cifar10"]
    training = ["--methods", "pgd-at-ra", "--model", "small-cnn", "--epochs", 4, "--checkpoints", "best"]
    training += ["--set", "protocol.batch_size=16", "--set", "protocol.lr=0.05", "--set", "protocol.augmentation=none"]
    harness("run", *where, *training, "--attacks", "fgsm,autoattack", "--executor", "inline")
    harness("submit", "pgd-at-ra", *where, *WORDS, "--draft", "--out", root / "out")
    return root


@pytest.fixture
def zoo(place, monkeypatch):
    """RobustBench with the submission's entry in its zoo, in a folder like that of its repository."""
    robustbench = robustbench_compat.load()
    zoo = import_module("robustbench.model_zoo")
    architecture = import_file(place / "out" / "architecture.py", "model")
    boards = zoo.enums.BenchmarkDataset, zoo.enums.ThreatModel
    entry = {"model": getattr(architecture, f"{NAME}Net"), "gdrive_id": "GOOGLE-DRIVE-ID"}
    monkeypatch.setitem(zoo.model_dicts[boards[0]("cifar10")][boards[1]("Linf")], NAME, entry)
    monkeypatch.chdir(place / "out")
    monkeypatch.setattr(sys, "path", [*sys.path])
    return robustbench


def row(folder: Path) -> dict:
    return json.loads((folder / "model_info" / "cifar10" / "Linf" / f"{NAME}.json").read_text())


def our_model(place: Path) -> torch.nn.Module:
    (files,) = map(JobFiles, (place / "runs" / "jobs").glob("train-*"))
    spec = parse_spec(files.spec.read_text())
    assert isinstance(spec, TrainSpec)
    return checkpoint_model(spec, files, "best", pictures())


def test_its_loader_gives_our_model_bit_for_bit(place, zoo):
    x = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    theirs = zoo.utils.load_model(NAME, dataset="cifar10", threat_model="Linf")
    with torch.no_grad():
        logits = theirs(x)
        assert logits.std(0).max() > 0.01
        assert torch.equal(logits, our_model(place)(x))
    weights = place / "out" / "models" / "cifar10" / "Linf" / f"{NAME}.pt"
    plain, safe = torch.load(weights, weights_only=True), load_file(weights.with_suffix(".safetensors"))
    assert plain.keys() == safe.keys() == theirs.state_dict().keys()
    assert all(torch.equal(plain[key], safe[key]) for key in plain)


@pytest.mark.slow
def test_its_benchmark_measures_the_stored_accuracy(place, zoo, monkeypatch, tmp_path):
    """``robustbench.benchmark`` in full, with AutoAttack; only the images are ours. What it writes merges into our row.

    It is the one test of the whole bridge: its messages go to the file that it names, and its logger is left alone.
    """
    test = pictures().test
    x, y = torch.from_numpy(test.images).float() / 255, torch.from_numpy(test.labels)
    monkeypatch.setattr("robustbench.eval.load_clean_dataset", lambda *_: (x, y))
    model = zoo.utils.load_model(NAME, dataset="cifar10", threat_model="Linf")
    ours = row(place / "out")
    shutil.copytree(place / "out" / "model_info", tmp_path / "model_info")
    monkeypatch.chdir(tmp_path)
    asked = {"n_examples": 4, "dataset": "cifar10", "threat_model": "Linf", "eps": THREAT.eps}
    clean, robust = zoo.benchmark(model, **asked, model_name=NAME, to_disk=True, log_path="log.txt")
    assert "robust accuracy after SQUARE: 25.00%" in Path("log.txt").read_text()
    assert logging.getLogger("auto-attack").handlers == []
    assert (
        (f"{100 * clean:.2f}", f"{100 * robust:.2f}")
        == (ours["clean_acc"], ours["autoattack_acc"])
        == ("100.00", "25.00")
    )
    merged = row(tmp_path)
    assert merged.keys() == ours.keys()
    assert {key for key in ours if merged[key] != ours[key]} == {"eps", "clean_acc", "autoattack_acc"}  # other forms


def test_its_tables_show_our_row(place, zoo, monkeypatch, capsys):
    """Its package on PyPI lacks the template of its page, so that one of a line stands in for it."""
    template = "{% for model in models %}{{ model.name }}|{{ model.clean_acc }}|{{ model[acc_field] }}|{% endfor %}"
    leaderboard = import_module("robustbench.leaderboard.template")
    monkeypatch.setattr(leaderboard, "PackageLoader", lambda *_: DictLoader({"leaderboard.html.j2": template}))
    page = leaderboard.generate_leaderboard("cifar10", "Linf")
    assert page == "Enhancing Robust Representation|100.00|25.00|"
    latex = zoo.utils.get_leaderboard_latex("cifar10", "Linf")
    assert latex.startswith(
        r"1 &\citet{Zhou2023Enhancing} & 100.00 & 25.00 & N & 4-layer CNN with reverse attention & "
    )
    assert "Zhou2023Enhancing\\_Tiny" in latex
    ((bibtex,), _) = zoo.utils.get_leaderboard_bibtex("cifar10", "Linf")
    assert "author\t= {Ada Lovelace and Alan Turing}" in bibtex
    assert "year\t= {2023}" in bibtex
    zoo.utils.list_available_models("cifar10", "Linf")
    assert "**Zhou2023Enhancing_Tiny**" in capsys.readouterr().out


def test_its_check_needs_nothing_of_ours(place):
    """In a process of its own that cannot import the harness."""
    blocked = "import sys, runpy; sys.modules |= dict.fromkeys(('harness', 'methods', 'results', 'reports'))"
    options = ["--n-examples", "3", "--images", "test.npz"]
    command = [sys.executable, "-c", f"{blocked}; runpy.run_path('out/verify.py', run_name='__main__')", *options]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok     clean accuracy: 100.00 %, stored 100.00 %" in done.stdout
    assert "ok     accuracy on adversarial.pt: 33.33 %, stored 33.33 %" in done.stdout
    assert "FAILED" not in done.stdout


@pytest.mark.parametrize("wrong", ["adversarial.pt", "verdicts.pt", "weights", "row"])
def test_its_check_finds_what_is_wrong(wrong, place, zoo, tmp_path, capsys):
    folder = tmp_path / "out"
    shutil.copytree(place / "out", folder)
    weights = folder / "models" / "cifar10" / "Linf" / f"{NAME}.pt"
    if wrong == "row":
        file = folder / "model_info" / "cifar10" / "Linf" / f"{NAME}.json"
        file.write_text(json.dumps(row(folder) | {"clean_acc": "99.00"}))
    elif wrong == "weights":
        state = torch.load(weights, weights_only=True)
        torch.save(state | {"linear.bias": state["linear.bias"] + 100 * torch.eye(10)[5]}, weights)
    else:
        content = torch.load(folder / wrong, weights_only=True)
        further = {"natural": ~content["natural"]} if wrong == "verdicts.pt" else (content + 0.05).clamp(max=1)
        torch.save(content | further if wrong == "verdicts.pt" else further, folder / wrong)
    check = import_file(folder / "verify.py", "model").check
    options = Namespace(images=place / "test.npz", data_dir=None, n_examples=4, device="cpu", autoattack=False)
    assert check(options) > 0
    assert "FAILED" in capsys.readouterr().out


def test_a_name_that_is_taken_is_refused(place):
    where = ["--workspace", place / "runs", "--data-root", place / "data", "--dataset", "cifar10"]
    words = ["Rice2020Overfitting" if word == NAME else word for word in WORDS]
    output = harness("submit", "pgd-at-ra", *where, *words, "--draft", "--out", place / "taken")
    assert "RobustBench has a model Rice2020Overfitting already" in output
    assert not (place / "taken" / "architecture.py").exists()


def test_without_a_draft_nothing_is_written(place):
    where = ["--workspace", place / "runs", "--data-root", place / "data", "--dataset", "cifar10"]
    output = harness("submit", "pgd-at-ra", *where, *WORDS, "--out", place / "refused", code=2)
    assert "evaluated on 4 test examples of 10,000" in output
    assert "--draft writes it all the same" in output
    assert not (place / "refused").exists()


def test_the_images_are_those_that_broke_the_examples(place):
    test, images = pictures().test, torch.load(place / "out" / "adversarial.pt", weights_only=True)
    verdicts = torch.load(place / "out" / "verdicts.pt", weights_only=True)
    clean = torch.from_numpy(test.images).float() / 255
    assert (images.dtype, images.shape) == (torch.float32, clean.shape)
    assert THREAT.contains(clean, images).all()
    with torch.no_grad():
        right = our_model(place)(images).argmax(1) == torch.from_numpy(test.labels)
    assert right.tolist() == verdicts["worst-case"].tolist() == [True, False, False, False]
    assert torch.equal(images[0], clean[0])


def test_jobs_of_a_version_without_images_leave_them_out_of_a_draft(place, tmp_path):
    shutil.copytree(place / "runs", tmp_path / "runs")
    for file in (tmp_path / "runs" / "jobs").glob("*/adversarial.npz"):
        file.unlink()
    where = ["--workspace", tmp_path / "runs", "--data-root", place / "data", "--dataset", "cifar10"]
    output = harness("submit", "pgd-at-ra", *where, *WORDS, "--draft")
    assert "2 of 2 evaluations are of a version that did not keep adversarial images: harness rm evaluate-" in output
    folder = tmp_path / "runs" / "submissions" / NAME
    assert not (folder / "adversarial.pt").exists()
    assert "did not keep adversarial images" in (folder / "README.md").read_text()
