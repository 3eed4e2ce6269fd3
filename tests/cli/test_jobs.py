"""Single jobs: shown, tried again, removed."""

import json
import shutil
from pathlib import Path

import pytest
from command_line import harness

from results.store import Store

PLUGIN = Path(__file__).parents[1] / "support" / "faulty_plugin.py"
QUICK = ("--epochs", 1, "--train-examples", 200, "--test-examples", 10, "--attacks", "fgsm", "--checkpoints", "best")


@pytest.fixture
def failed(tmp_path, monkeypatch):
    """A workspace with a job that fails as long as there is no file ``marker``, and its command in a shell's words."""
    monkeypatch.setenv("FAULTY_MARKER", str(tmp_path / "no folder" / "marker"))
    monkeypatch.chdir(tmp_path)
    words = ("run", "--methods", "fails-once", "--plugin", PLUGIN, *QUICK, "--executor", "inline", "-q")
    harness(*words, code=1)
    return tmp_path / "runs", "harness " + " ".join(map(str, words))


def test_a_failed_job_is_shown_tried_again_and_removed(failed, monkeypatch, tmp_path):
    workspace, command = failed
    (training,) = (path.parent.name for path in workspace.glob("jobs/*/failure.json"))
    assert f"\nfailed  {training}  digits fails-once seed 0\n        FileNotFoundError: " in harness("status")
    shown = harness("show", training[:12])
    assert shown.startswith(f"{training}: digits fails-once seed 0\nfailed: FileNotFoundError")
    assert f"\ncd {tmp_path}\n{command}\n" in shown
    assert '"epochs": 1' in shown
    assert "end of the log" in shown
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert "4 of 4 jobs failed or could not start" in harness("retry", "-w", workspace, code=1)
    monkeypatch.setenv("FAULTY_MARKER", str(tmp_path / "marker"))
    harness("retry", "-w", workspace)
    assert "4 jobs: 4 done" in harness("status", "-w", workspace)
    assert "nothing to try again" in harness("retry", "-w", workspace)
    removed = harness("rm", training[:12], "--yes", "-w", workspace)
    assert "fails-once seed 0 best fgsm" in removed
    assert "removed 4 jobs" in removed
    assert not list((workspace / "jobs").iterdir())
    assert json.loads(harness("results", "--json", "-w", workspace)) == []


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A workspace with one training under FGSM."""
    workspace = tmp_path_factory.mktemp("runs")
    harness("run", "--methods", "natural", *QUICK, "--executor", "inline", "-q", "-w", workspace)
    return workspace


def test_an_id_that_is_unknown_or_not_one_is_an_error(finished):
    assert "no job in" in harness("show", "train-nothing", "-w", finished, code=2)
    assert "2 jobs have ids that begin with 'evaluate-'" in harness("show", "evaluate-", "-w", finished, code=2)
    assert "holds no jobs" in harness("show", "train-", "-w", finished / "nowhere", code=2)


def test_what_is_left_of_a_training_that_is_gone_is_named_and_removed(finished, tmp_path):
    """Whoever deleted its folder is told, by a rebuild, what to do."""
    workspace = shutil.copytree(finished, tmp_path / "runs")
    (training,) = (path.name for path in workspace.glob("jobs/train-*"))
    shutil.rmtree(workspace / "jobs" / training)
    said = harness("results", "rebuild", "-w", workspace)
    assert f"{training} is not there, but 2 evaluations of it are" in said
    assert f"harness rm {training}" in said
    assert "is not there, only what was done" in harness("show", training, "-w", workspace, code=2)
    harness("rm", training, "--yes", "-w", workspace)
    assert not list((workspace / "jobs").iterdir())
    assert "is not there" not in harness("results", "rebuild", "-w", workspace)
    with Store.open(workspace / "harness.db").reading() as session:
        assert session.connection().exec_driver_sql("SELECT count(*) FROM evaluations").scalar() == 0


def test_nothing_is_removed_without_a_yes(finished):
    assert "remove these 4 jobs?" in harness("rm", "train-", "-w", finished, code=1)
    assert "4 jobs: 4 done" in harness("status", "-w", finished)
