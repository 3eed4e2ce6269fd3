"""``harness evaluate``: models from elsewhere, and what is kept of them."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from command_line import harness

QUICK = ("--dataset", "digits", "--test-examples", 10, "--attacks", "fgsm")


MODEL = """
import torch

def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))

def wrong():
    return 7
"""


@pytest.fixture
def model_file(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(MODEL)
    return file


def test_evaluate_attacks_a_model_from_a_file_with_weights(model_file, tmp_path):
    """Weights that always say class 3: right on the threes alone, and nothing can fool it."""
    import torch
    from safetensors.torch import save_file
    from sklearn.datasets import load_digits

    weights = tmp_path / "three.safetensors"
    save_file({"1.weight": torch.zeros(10, 64), "1.bias": torch.eye(10)[3]}, weights)
    own = ["--model", f"{model_file}:make", "--weights", weights]
    output = harness("evaluate", *own, "--dataset", "digits", "--attacks", "fgsm,pgd-5")
    rows = {line.split()[0]: line.split()[1] for line in output.splitlines() if len(line.split()) > 2}
    share = 100 * (load_digits().target == 3).mean()
    assert float(rows["natural"]) == pytest.approx(share, abs=0.3)
    assert rows["fgsm"] == rows["pgd-5"] == rows["natural"] == rows["worst-case"]
    assert "verdict: masked" in output
    assert "zero-gradient" in output
    assert f"on digits, Linf 0.2\nweights: {weights}\n" in output


def test_without_weights_the_output_says_whose_they_are(model_file):
    output = harness("evaluate", "--model", f"{model_file}:make", *QUICK)
    assert f"\nweights: as make in {model_file} gave them; --weights FILE loads others\n" in output


def test_strict_fails_unless_the_model_is_trusted_and_limits_are_settings(model_file):
    own = ["evaluate", "--model", f"{model_file}:make", "--dataset", "digits", "--test-examples", 20]
    own += ["--attacks", "fgsm"]
    assert "weak-evaluation" in harness(*own)
    assert "verdict: suspect" in harness(*own, "--strict", code=1)
    assert "verdict: trusted" in harness(*own, "--strict", "--set", "diagnostics.weak-evaluation.suspect=2")
    output = harness(*own, "--set", "protocol.lr=1", code=2)
    assert "unknown owner of a --set 'protocol'" in output


def test_a_model_with_other_classes_than_the_data_is_said_to_have_them(tmp_path, caplog):
    file = tmp_path / "wide.py"
    file.write_text(MODEL.replace("64, 10", "64, 12"))
    harness("evaluate", "--model", f"{file}:make", "--dataset", "digits", "--test-examples", 10, "--attacks", "fgsm")
    assert "the model has 12 outputs, digits has 10 classes: label 0 is '0' here" in caplog.text


def test_a_model_that_fails_is_one_line_and_its_traceback_is_kept(tmp_path):
    file = tmp_path / "odd.py"
    file.write_text("def make():\n    return lambda x: 1 / 0\n")
    output = harness("evaluate", "--model", f"{file}:make", "--dataset", "digits", code=2)
    (line,) = output.strip().splitlines()
    assert line.startswith(
        "error: the model fails on images (N, C, H, W) = (2, 1, 8, 8): ZeroDivisionError: division by"
    )
    kept = Path(line.rpartition("traceback: ")[2].rstrip(")"))
    assert "lambda x: 1 / 0" in kept.read_text()
    kept.unlink()


def test_evaluate_refuses_what_is_no_model(model_file):
    output = harness("evaluate", "--model", f"{model_file}:wrong", "--dataset", "digits", code=2)
    assert "must return a torch.nn.Module or a function, got int" in output
    output = harness("evaluate", "--model", f"{model_file}:mkae", "--dataset", "digits", code=2)
    assert "defines no 'mkae'" in output


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A workspace with one training of one epoch, under FGSM."""
    workspace = tmp_path_factory.mktemp("runs")
    quick = ("--epochs", 1, "--train-examples", 200, "--checkpoints", "best", "--executor", "inline", "--quiet")
    harness("run", "--methods", "natural", *QUICK, *quick, "--workspace", workspace)
    return workspace


def rows(workspace):
    return pd.read_csv(io.StringIO(harness("results", "--csv", "--workspace", workspace)))


def test_a_checkpoint_of_the_workspace_is_attacked_as_the_run_did(trained):
    """By method, seed and checkpoint, or by the id of its training; JSON says what the table says."""
    stored = rows(trained).set_index("attack")
    (training,) = set(stored["train_id"])
    for name in ("natural/seed0/best", f"{training}/best"):
        found = json.loads(harness("evaluate", "--model", f"runs:{name}", *QUICK, "--json", "-w", trained))
        assert found["threat"] == "Linf 0.2"
        assert found["verdict"] == stored["verdict"].iloc[0]
        assert list(found["attacks"]) == ["natural", "fgsm", "worst-case"]
        for attack, said in found["attacks"].items():
            assert said == {key: stored.loc[attack, key] for key in ("accuracy", "ci_low", "ci_high", "examples")}
    assert found["weights"] == str(trained / "jobs" / training / "best.safetensors")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("natural/seed0", "runs: takes METHOD/seed0/best or TRAIN-ID/last, got 'natural/seed0'"),
        ("natural/seed1/best", "must be one finished training on digits"),
    ],
)
def test_a_checkpoint_that_is_not_there_is_an_error(trained, name, said):
    assert said in harness("evaluate", "--model", f"runs:{name}", *QUICK, "-w", trained, code=2)


def test_a_kept_model_is_a_row_of_the_same_tables_and_survives_a_rebuild(trained, model_file):
    own = ["evaluate", "--model", f"{model_file}:make", *QUICK, "--save", "mine", "-w", trained]
    said = json.loads(harness(*own, "--architecture", "small-cnn", "--json").partition("\nkept as mine")[0])
    frame = rows(trained)
    mine = frame[frame["method"] == "mine"].set_index("attack")
    assert {attack: each["accuracy"] for attack, each in said["attacks"].items()} == mine["accuracy"].to_dict()
    assert set(mine["model"]) == {"small-cnn"}
    assert set(mine["verdict"]) == {said["verdict"]} == {"suspect"}
    assert json.loads(mine["params"].iloc[0])["source"] == f"{model_file}:make"
    assert "points of worst-case accuracy" in harness("compare", "mine", "natural", "-w", trained)
    harness(*own, "--architecture", "small-cnn")
    assert len(rows(trained)) == len(frame), "the same again changes nothing"
    assert "is not there" not in harness("results", "rebuild", "-w", trained)
    assert rows(trained).equals(frame)
    model_file.write_text(MODEL.replace("manual_seed(0)", "manual_seed(0 + 0)"))
    harness(*own, "--architecture", "small-cnn")
    assert rows(trained).query("method == 'mine'")["train_id"].nunique() == 2, "other code, other model"
    harness(*own)
    assert set(rows(trained).query("method == 'mine'")["model"]) == {"small-cnn", "Sequential"}


@pytest.mark.parametrize(
    ("model", "name", "said"),
    [
        ("net.py:make", "trades", "--save takes a name that no method has"),
        ("net.py:make", "a, b", "without spaces, commas, brackets and @, got 'a, b'"),
        ("runs:natural/seed0/best", "again", "is in a workspace already"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_any_work(model, name, said, tmp_path):
    assert said in harness("evaluate", "--model", model, *QUICK, "--save", name, "-w", tmp_path, code=2)
