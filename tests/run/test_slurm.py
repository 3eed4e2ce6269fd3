"""Jobs on a real Slurm, where one runs (tox run -e tools): lost schedulers, time limits, others that come first."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from command_line import harness
from one_node import state, told, wait_until
from worker_calls import outlive_restart, sleep

from harness.api.errors import HarnessError
from harness.run.executors import WorkerDied, executor_for
from harness.run.executors.slurm import parse_options
from harness.run.workspace import Workspace

RUN = (
    *("run", "--methods", "trades", "--dataset", "digits", "--epochs", "3", "--train-examples", "400"),
    *("--attacks", "fgsm", "--checkpoints", "last", "--test-examples", "12", "--set", "trades.attack_steps=3"),
)


@pytest.fixture
def place(tmp_path):
    return Workspace(tmp_path, "digits", tmp_path)


@pytest.fixture
def executor(slurm, place):
    made = executor_for("slurm", None, place, slurm="time=30")
    yield made
    made.shutdown(cancel_futures=True)


def submitted(place, job="job"):
    """The ids of all Slurm jobs that were submitted for the job."""
    return [path.name.partition("_")[0] for path in place.job(job).slurm.glob("*_submission.sh")]


def running(place):
    """The id of the job's one Slurm job, once it runs its call."""
    wait_until((place.root / "runs").exists)
    (slurm_id,) = submitted(place)
    return slurm_id


def test_options_are_those_of_sbatch():
    assert parse_options("") == {}
    assert parse_options("partition=gpu,exclude=n1,n2,gpus=a100:1,time=1-00:00:00") == {
        "partition": "gpu",
        "exclude": "n1,n2",
        "gpus": "a100:1",
        "time": "1-00:00:00",
    }


@pytest.mark.parametrize(
    ("options", "message"), [("gpu", "options of sbatch, .* got 'gpu'"), ("comment=mine", "no 'comment'")]
)
def test_other_options_are_refused(options, message):
    with pytest.raises(HarnessError, match=message):
        parse_options(options)


def test_a_machine_without_slurm_is_told_so(place, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(HarnessError, match="needs the commands of Slurm"):
        executor_for("slurm", None, place)


@pytest.mark.tools
def test_what_slurm_refuses_is_said_in_its_words(slurm, place):
    with executor_for("slurm", 1, place, slurm="partition=nowhere") as executor:
        error = executor.submit(sleep, "job", 0).exception(timeout=60)
    assert "invalid partition" in str(error)


@pytest.mark.tools
@pytest.mark.parametrize("cause", ["time limit", "requeued", "preempted"])
def test_a_slurm_job_that_is_interrupted_starts_again(executor, place, cause):
    """As one Slurm job throughout, which counts its restarts."""
    future = executor.submit(outlive_restart, "job", place.root / "runs")
    slurm_id = running(place)
    if cause == "time limit":
        told("scancel", "--signal=USR2", slurm_id)
    elif cause == "requeued":
        told("scontrol", "requeue", slurm_id)
    else:
        told("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=true")
    assert future.result(timeout=120) == 1
    assert submitted(place) == [slurm_id]


@pytest.mark.tools
def test_a_slurm_job_that_somebody_cancels_fails_its_call(executor, place):
    future = executor.submit(outlive_restart, "job", place.root / "runs")
    slurm_id = running(place)
    told("scancel", slurm_id)
    with pytest.raises(WorkerDied, match=rf"Slurm job {slurm_id} ended without a result: CANCELLED"):
        future.result(timeout=60)


@pytest.mark.tools
def test_while_slurm_does_not_answer_nothing_is_lost_or_submitted_twice(executor, place, monkeypatch):
    future = executor.submit(sleep, "job", 3)
    (slurm_id,) = wait_until(lambda: submitted(place))
    monkeypatch.setenv("PATH", "")
    wait_until(lambda: list(place.job("job").slurm.glob("*_result.pkl")))
    assert not future.done()
    monkeypatch.undo()
    assert future.result(timeout=60) is None
    assert submitted(place) == [slurm_id]


@pytest.mark.tools
def test_a_restarted_scheduler_finds_its_slurm_jobs_again(slurm, tmp_path):
    """Killed in the training; the whole is that of an uninterrupted run, and every job was submitted once."""
    whole, killed = (
        Workspace(tmp_path / "whole", "digits", tmp_path),
        Workspace(tmp_path / "killed", "digits", tmp_path),
    )
    harness(*RUN, "--executor", "inline", "--workspace", whole.root)
    command = [sys.executable, "-m", "harness", *RUN, "--executor", "slurm", "--slurm", "time=30", "-w", killed.root]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as scheduler:
        [log] = wait_until(lambda: list(killed.jobs.glob("train-*/log.txt")))
        scheduler.send_signal(signal.SIGKILL)
    (slurm_id,) = submitted(killed, log.parent.name)
    assert state(slurm_id) in {"RUNNING", "COMPLETING", "COMPLETED"}
    assert "4 jobs, " in harness(*RUN, "--executor", "slurm", "--slurm", "time=30", "-w", killed.root)
    jobs = sorted(path.name for path in whole.jobs.iterdir())
    assert [len(submitted(killed, job)) for job in jobs] == [1, 1, 1, 1]
    assert all(len((killed.jobs / job / "log.txt").read_text().splitlines()) == 1 for job in jobs)
    for job in jobs:
        first, second = (place.job(job) for place in (whole, killed))
        assert second.result.exists()
        if first.verdicts.exists():
            assert np.array_equal(np.load(first.verdicts), np.load(second.verdicts))
            assert json.loads(first.result.read_text())["details"] == json.loads(second.result.read_text())["details"]
