"""One training on several devices comes to what one device comes to."""

import json

import pytest
import torch
from safetensors.torch import load_file

from harness.api.specs import job_id
from harness.run import together
from harness.run.worker import JobFailed, run_job
from harness.run.workspace import Workspace


@pytest.fixture
def trained(tmp_path, train_spec):
    def train(spec, devices):
        place = Workspace(tmp_path / devices, "digits", tmp_path / "data")
        files = place.job(job_id(spec))
        files.directory.mkdir(parents=True)
        files.spec.write_text(spec.model_dump_json())
        run_job(files.id, place, devices)
        history = [json.loads(line) for line in files.history.read_text().splitlines()]
        return history, load_file(files.weights("last"))

    return train


@pytest.mark.slow
def test_a_process_that_dies_ends_the_training_by_name_and_it_may_be_tried_again(trained, train_spec, monkeypatch):
    monkeypatch.setattr(together, "_HELP", "import os; os._exit(3)")
    with pytest.raises(JobFailed, match=r"a process of this training died \(exit code 3\)") as raised:
        trained(train_spec("natural"), "cpu,cpu")
    assert raised.value.retry


@pytest.mark.slow
def test_two_processes_compute_the_loss_and_the_weights_of_one(trained, train_spec):
    """With BatchNorm, random starts, negatives from all of the batch, batches of odd size, and an averaged model."""
    settings = ["pgd-at-ancra.attack_steps=2", "pgd-at-ancra.negatives_per_anchor=2"]
    spec = train_spec("pgd-at-ancra", examples=70, settings=settings, epochs=1, batch_size=25, weight_averaging=0.9)
    (alone, weights), (both, others) = trained(spec, "cpu"), trained(spec, "cpu,cpu")
    for one, other in zip(alone, both, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert other["terms"] == pytest.approx(one["terms"], rel=1e-5)
        assert other["validation_natural"] == one["validation_natural"]
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight, rtol=1e-4, atol=1e-5)
