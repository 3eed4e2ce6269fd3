"""A model that was exported for Hugging Face's Hub: loaded, evaluated, and read by the Hub's own library."""

import json
import re

import pytest
import torch
from command_line import harness

from harness import HarnessError, load
from harness.api.specs import TrainSpec
from harness.evaluation.job import checkpoint_model, examples_of
from harness.run.status import finished_jobs


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A workspace of two seeds of a method with a model of its own, and the folder of one of them."""
    workspace, folder = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("hub") / "model"
    quick = [
        "--epochs",
        1,
        "--train-examples",
        200,
        "--test-examples",
        20,
        "--attacks",
        "fgsm",
        "--checkpoints",
        "best",
    ]
    run = ("run", "--methods", "pgd-at-ra", "--dataset", "digits", "--seeds", 2, "--executor", "inline", *quick)
    harness(*run, "-w", workspace)
    output = harness("export", "huggingface", "pgd-at-ra", folder, "--seed", 1, "-w", workspace)
    assert output.endswith("config.json, model.safetensors, README.md; verdict masked\n")
    return workspace, folder


def test_the_model_is_the_checkpoint_to_the_last_bit(exported, digits):
    workspace, folder = exported
    ((files, spec),) = (each for each in finished_jobs(workspace / "jobs", "train") if each[1].seed == 1)
    assert isinstance(spec, TrainSpec)
    x = examples_of(digits.test.head(16)).x.float() / 255
    before = torch.get_rng_state()
    model = load(folder)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(model(x), checkpoint_model(spec, files, "best", digits)(x))
    assert not model.training


def test_the_hubs_own_library_reads_the_card(exported):
    """The accuracies of its metadata are those of the store, and its front page holds the verdict."""
    huggingface_hub = pytest.importorskip("huggingface_hub", reason="timm's dependency is not installed")
    workspace, folder = exported
    card = huggingface_hub.ModelCard.load(folder / "README.md")
    records = json.loads(harness("results", "--json", "--where", "seed=1", "-w", workspace))
    found = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert found == {f"{row['attack']}, Linf 0.2": row["accuracy"] for row in records}
    assert {result.dataset_type for result in card.data.eval_results} == {"digits"}
    assert (card.data.library_name, card.data.pipeline_tag) == ("robustness-harness", "image-classification")
    assert "Verdict: **masked**: " in card.text
    assert "| protocol.epochs | 1 |" in card.text


def test_the_cards_example_loads_the_model(exported, monkeypatch):
    _, folder = exported
    (source,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    monkeypatch.chdir(folder)
    scope = {}
    exec(source, scope)
    assert scope["model"](torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_an_exported_folder_can_be_attacked(exported):
    _, folder = exported
    output = harness("evaluate", "--model", folder, "-d", "digits", "--test-examples", 10, "--attacks", "fgsm")
    assert f"weights: {folder / 'model.safetensors'}" in output
    refused = harness("evaluate", "--model", folder, "-d", "digits", "--weights", "other.safetensors", code=2)
    assert "comes with its own weights" in refused


def test_what_is_asked_for_must_be_one_training(exported, tmp_path):
    workspace, _ = exported
    command = ("export", "huggingface", "pgd-at-ra", tmp_path / "new", "-w", workspace)
    assert "is several trainings (seed: 0, 1)" in harness(*command, code=2)
    assert "unknown seed of pgd-at-ra '7'. Known: 0, 1." in harness(*command, "--seed", 7, code=2)
    assert "unknown checkpoint of pgd-at-ra 'last'" in harness(*command, "--checkpoint", "last", code=2)
    assert not (tmp_path / "new").exists()


def test_a_folder_without_such_a_model_says_what_is_wrong(tmp_path):
    (tmp_path / "config.json").write_text('{"model": "resnet18"}')
    with pytest.raises(HarnessError, match="is not what `harness export huggingface` writes"):
        load(tmp_path)
