"""Ctrl-C or kill -9 at any moment, then the same command: the result is that of an uninterrupted run, bit for bit."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest
from command_line import harness
from killing import ARGUMENTS, outcome, soak, start, without_coverage

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run of this process: what it gives, and its seconds."""
    workspace, began = tmp_path_factory.mktemp("whole"), time.monotonic()
    assert "5 jobs, 0 done before" in harness(*ARGUMENTS, "--executor", "inline", "--workspace", workspace)
    return outcome(workspace), time.monotonic() - began


def piped(workspace: Path, **environment) -> subprocess.Popen:
    return start(workspace, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **environment)


def finish(workspace: Path) -> str:
    process = piped(workspace)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    return output


def interrupted_when(workspace: Path, happened, by: int) -> tuple[int, str]:
    """Start the run and send it a signal at the first moment that ``happened(workspace)``: exit code and output."""
    process = piped(workspace, **({"env": without_coverage()} if by == signal.SIGKILL else {}))
    deadline = time.monotonic() + 120
    while not happened(workspace):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(by)
    output = process.communicate(timeout=60)[0]
    assert not all((path.parent / "result.json").exists() for path in workspace.glob("jobs/*/spec.json"))
    return process.returncode, output


def in_training(workspace: Path) -> bool:
    """After the first epoch and before the last."""
    return any(0 < len(path.read_text().splitlines()) < 4 for path in workspace.glob("jobs/train-*/history.jsonl"))


def in_attack(workspace: Path) -> bool:
    """The job of the long attack has said that it started, and has no result."""
    for spec in workspace.glob("jobs/evaluate-*/spec.json"):
        if '"pgd-1000"' in spec.read_text() and (spec.parent / "log.txt").exists():
            return not (spec.parent / "result.json").exists()
    return False


def test_a_run_stopped_in_training_and_killed_in_an_attack_ends_like_an_uninterrupted_one(whole, tmp_path):
    """The uninterrupted one is of this process, the others of processes and workers of their own.

    Ctrl-C stops cleanly and says how to go on; the worker, which trains, is killed.
    """
    code, output = interrupted_when(tmp_path, in_training, signal.SIGINT)
    assert code == 130
    assert "The same command goes on" in output
    assert "Traceback" not in output
    code, _ = interrupted_when(tmp_path, in_attack, signal.SIGKILL)
    assert code == -signal.SIGKILL
    output = finish(tmp_path)
    assert re.search("5 jobs, [1-9] done before", output)
    assert "tables and plots: " in output
    assert {".md", ".csv", ".tex", ".png", ".pdf"} <= {path.suffix for path in (tmp_path / "reports").iterdir()}
    assert outcome(tmp_path) == whole[0]
    assert len(whole[0]) == 2 + 2 + 3  # tables; weights; verdicts


def test_a_run_killed_at_random_instants_loses_and_doubles_nothing(whole, tmp_path):
    """Scheduler, worker or both. Two here; ``benchmarks/soak.py`` does it by the hundred."""
    expected, seconds = whole
    rounds = list(soak(tmp_path, 2, Random(), seconds))
    assert rounds[-1][0] == 2
    assert all(found == expected for _, found in rounds)
