"""kill -9 at any moment, then the same command: the result is that of an uninterrupted run, bit for bit."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import harness
from safetensors.torch import load_file
from training_runs import history_of

ARGUMENTS = [
    *("run", "--methods", "trades", "--dataset", "digits", "--epochs", "4", "--train-examples", "400"),
    *("--attacks", "fgsm,pgd-1000", "--checkpoints", "last", "--test-examples", "12"),
    *("--set", "trades.attack_steps=3", "--eps", "0.1"),
]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
]


def start(workspace: Path, *options: str, environment: dict[str, str] | None = None) -> subprocess.Popen:
    command = [sys.executable, "-m", "harness", *ARGUMENTS, *options, "--workspace", str(workspace)]
    # A shell starts what runs in its background with Ctrl-C ignored, and children inherit that: not this one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    finally:
        signal.signal(signal.SIGINT, before)


def finish(workspace: Path) -> str:
    process = start(workspace, "--workers", "2")
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    return output


def kill_when(workspace: Path, happened) -> None:
    """Start the run and kill it, with its workers, at the first moment that ``happened(workspace)``."""
    # Who is killed does not live to say which lines were covered, and is quicker where nobody asks.
    uncovered = {name: value for name, value in os.environ.items() if "COV" not in name}
    process = start(workspace, "--workers", "1", environment=uncovered)
    deadline = time.monotonic() + 120
    while not happened(workspace):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def in_training(workspace: Path) -> bool:
    """After the first epoch and before the last."""
    return any(0 < len(path.read_text().splitlines()) < 4 for path in workspace.glob("jobs/train-*/history.jsonl"))


def in_attack(workspace: Path) -> bool:
    """The job of the long attack has said that it started, and has no result."""
    for spec in workspace.glob("jobs/evaluate-*/spec.json"):
        if '"pgd-1000"' in spec.read_text() and (spec.parent / "log.txt").exists():
            return not (spec.parent / "result.json").exists()
    return False


def test_a_run_killed_in_training_and_again_in_an_attack_ends_like_an_uninterrupted_one(tmp_path):
    """The uninterrupted one is of this process, the others of processes and workers of their own."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert "5 jobs, 0 done before" in harness(*ARGUMENTS, "--executor", "inline", "--workspace", whole)
    for moment in (in_training, in_attack):
        kill_when(killed, moment)
        assert not all((path.parent / "result.json").exists() for path in killed.glob("jobs/*/spec.json"))
    output = finish(killed)
    assert re.search("5 jobs, [1-9] done before", output)
    assert "tables and plots: " in output
    assert {".md", ".csv", ".tex", ".png", ".pdf"} <= {path.suffix for path in (killed / "reports").iterdir()}
    trained = next(whole.glob("jobs/train-*")).name
    for name in ("best", "last"):
        first, second = (load_file(w / "jobs" / trained / f"{name}.safetensors") for w in (whole, killed))
        assert all(torch.equal(first[key], second[key]) for key in first)
    assert history_of(whole / "jobs" / trained) == history_of(killed / "jobs" / trained)
    evaluations = sorted(path.name for path in whole.glob("jobs/evaluate-*"))
    assert len(evaluations) == 3
    for name in evaluations:
        first, second = (np.load(w / "jobs" / name / "verdicts.npy") for w in (whole, killed))
        assert np.array_equal(first, second)


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path):
    process = start(tmp_path, "--workers", "1")
    while not in_training(tmp_path):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert "The same command goes on" in output
    assert "Traceback" not in output
