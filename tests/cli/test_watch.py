"""A run without a terminal: started, followed, one job ended; and what is left over removed."""

import json
import re
import time

import pytest
from command_line import harness
from filelock import FileLock

from harness.run.presence import at_work, is_worked_in
from results.layout import WorkspaceFiles

QUICK = ("--methods", "natural", "--train-examples", 200, "--test-examples", 10, "--attacks", "fgsm", "--checkpoints")
QUICK = (*QUICK, "best", "--executor", "inline")
PATIENCE = 120.0  # seconds


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A workspace with one training under FGSM, made anew by each test that changes it."""
    workspace = tmp_path_factory.mktemp("runs")
    harness("run", *QUICK, "--epochs", 1, "-q", "-w", workspace)
    return WorkspaceFiles(workspace)


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def test_a_detached_run_is_followed_and_its_job_cancelled(tmp_path):
    """The training would take hours; once it is cancelled nothing else can start, and the run ends."""
    here = WorkspaceFiles(tmp_path)
    said = harness("run", *QUICK, "--epochs", 10**6, "--detach", "-w", tmp_path)
    assert re.search(r"the run goes on as process \d+; what it prints is in .*run.log", said)
    assert f"harness status --watch -w {tmp_path}" in said
    assert is_worked_in(here)
    wait_for(lambda: "running  train-" in harness("status", "-w", tmp_path))
    (training,) = here.jobs.glob("train-*")
    waiting = next(name for name, *_ in json.loads(here.plan.read_text())["jobs"] if name.startswith("diagnose"))
    assert "when its turn comes" in harness("cancel", waiting, "-w", tmp_path)
    assert f"{training.name} will end at its next step" in harness("cancel", "train-", "-w", tmp_path)
    assert f"cancelled  {training.name}  natural seed 0" in harness("status", "--watch", "-w", tmp_path)
    assert not is_worked_in(here)
    assert f"cancelled  {training.name}  digits natural seed 0\n" in harness("status", "-w", tmp_path)
    assert "4 of 4 jobs failed or could not start" in here.output.read_text()


def test_a_mistake_ends_a_detached_run_here(tmp_path):
    said = harness("run", "--methods", "tradez", "--detach", "-w", tmp_path, code=2)
    assert "unknown method 'tradez'" in said


def test_only_what_a_run_has_to_do_is_cancelled(finished):
    assert "there is nothing to cancel" in harness("cancel", "train-", "-w", finished.root, code=2)
    with at_work(finished):
        assert "is done: harness rm" in harness("cancel", "train-", "-w", finished.root, code=2)
        assert "no job in" in harness("cancel", "nothing", "-w", finished.root, code=2)


def test_watching_ends_where_nothing_runs(finished):
    assert harness("status", "--watch", "-w", finished.root).strip() == "4 done"


def test_a_running_job_has_an_age(finished):
    (directory,) = finished.jobs.glob("train-*")
    files = finished.job(directory.name)
    content = files.result.read_text()
    files.result.unlink()
    try:
        progress = {"since": time.time() - 25 * 60, "epoch": 3, "epochs": 30}
        files.progress.write_text(json.dumps(progress))
        with FileLock(files.lock):
            assert "natural seed 0  epoch 3/30, for 25 min\n" in harness("status", "-w", finished.root)
    finally:
        files.progress.unlink()
        files.result.write_text(content)


def test_what_no_result_needs_is_removed_and_nothing_else(finished):
    """Of a job that is running nothing is, nor what one that was cut off goes on from; never without a yes."""
    done, cut_off, running = (finished.job(path.name) for path in sorted(finished.jobs.iterdir())[:3])
    gone = [done.training_state, done.directory / "verdicts.npy.damaged", cut_off.directory / ".log.txt.77.part"]
    gone += [cut_off.state / "evaluation.pt.damaged", finished.root / "harness.db.bak"]
    stays = [cut_off.evaluation_state, running.state / "evaluation.pt", running.directory / ".result.json.7.part"]
    results = {files.id: files.result.read_text() for files in (cut_off, running)}
    before = harness("results", "--csv", "-w", finished.root)
    for name in results:
        finished.job(name).result.unlink()
    for path in (*gone, *stays):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 2**20)
    with FileLock(running.lock):
        assert "remove these 5 files and folders?" in harness("clean", "-w", finished.root, code=1)
        assert all(path.exists() for path in gone)
        assert "removed 5 files and folders, 5.0 MiB" in harness("clean", "--yes", "-w", finished.root)
    assert not any(path.exists() for path in (*gone, done.state))
    assert all(path.exists() for path in stays)
    for name, content in results.items():
        finished.job(name).result.write_text(content)
    for path in stays:
        path.unlink()
    assert "holds nothing that could go" not in harness("clean", "--yes", "-w", finished.root)  # the empty state
    assert "holds nothing that could go" in harness("clean", "-w", finished.root)
    assert harness("results", "--csv", "-w", finished.root) == before
