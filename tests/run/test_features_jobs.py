"""``harness run --features``: planned, computed, resumed, stored, drawn, and rebuilt from the job directories."""

import shutil

import numpy as np
import pytest
import torch
from command_line import harness

from harness.api.specs import parse_spec
from harness.datasets import load
from harness.evaluation import features
from results.errors import HarnessError
from results.layout import WorkspaceFiles
from results.lookups import stored_features
from results.rebuild import rebuild
from results.store import Store

WORDS = ("--methods", "natural", "--attacks", "fgsm", "--checkpoints", "best", "--epochs", 1, "--test-examples", 40)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    place = tmp_path_factory.mktemp("features") / "runs"
    harness("run", *WORDS, "--features", "--executor", "inline", "-q", "-w", place)
    return WorkspaceFiles(place)


def job(workspace):
    (directory,) = workspace.jobs.glob("features-*")
    return workspace.job(directory.name)


def test_there_is_one_job_a_checkpoint_and_none_unless_asked_for(workspace):
    assert [
        line.split()
        for line in harness("run", *WORDS, "--features", "--dry-run", "-w", workspace.root).splitlines()
        if "features" in line
    ] == [["features", "1", "1", "1", "train"]]
    assert "features" not in harness("run", *WORDS, "--dry-run", "-w", workspace.root)


def test_its_figures_are_drawn(workspace):
    assert {"classes", "examples", "features", "map"} <= {
        path.name.split("_")[0] for path in workspace.reports.glob("*.png")
    }


def test_the_store_holds_what_was_measured_and_a_rebuilt_one_too(workspace):
    (before,) = stored_features(Store.open(workspace.database))
    data = load("digits", workspace.root)
    assert np.array_equal(before.labels, data.test.labels[:40])
    assert np.array_equal(np.load(job(workspace).images), data.test.images[:32])
    rebuild(workspace.database, workspace.jobs)
    (after,) = stored_features(Store.open(workspace.database))
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one, other)


def test_a_job_that_was_cut_off_goes_on_with_the_same_outcome(workspace, tmp_path):
    copy = shutil.copytree(workspace.jobs, tmp_path / "jobs")
    files = WorkspaceFiles(copy.parent).job(job(workspace).id)
    spec = parse_spec(files.spec.read_text()).model_copy(update={"batch_size": 16})
    arguments = spec, load("digits", workspace.root), torch.device("cpu"), files
    features.features_job(*arguments, lambda _: None)
    whole, counts = np.load(files.features), []
    files.evaluation_state.unlink()

    def cut_off(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        features.features_job(*arguments, cut_off)
    features.features_job(*arguments, lambda progress: counts.append(progress["examples"]))
    assert counts == [32, 40]
    again = np.load(files.features)
    assert all(np.array_equal(whole[name], again[name]) for name in whole.files)


def test_a_damaged_file_is_named(workspace, tmp_path):
    files = job(workspace)
    content = files.features.read_bytes()
    files.features.write_bytes(content[:100])
    with pytest.raises(HarnessError, match=r"features.npz is damaged"):
        Store.open(tmp_path / "harness.db").ingest(files.directory)
    files.features.write_bytes(content)
    assert Store.open(tmp_path / "harness.db").ingest(files.directory)
