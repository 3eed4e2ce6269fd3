"""A Slurm to test on: the one that tests/support/one_node_slurm.sh starts, or whatever cluster this machine is of."""

import shutil
import subprocess
import time


def answers():
    """Whether there is a Slurm here that runs."""
    return shutil.which("squeue") is not None and subprocess.run(["squeue"], check=False).returncode == 0


def told(*command):
    """What a command of Slurm prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def state(slurm_id):
    """The state of a Slurm job in Slurm's word."""
    return told("squeue", "--states=all", "--noheader", "--format=%T", f"--jobs={slurm_id}")


def wait_until(happened, seconds=60):
    """Wait until ``happened()`` is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found
