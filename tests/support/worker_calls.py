"""What tests have worker processes do: in a module of its own, which a fresh process can import."""

import os
import signal
import threading
import time

import torch

from harness.run.worker import JobFailed


def where(*words):
    return (*words, os.getpid(), torch.get_num_threads())


def fail(message, device):
    raise ValueError(message)


def die(job, device):
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(job, seconds, device):
    time.sleep(seconds)


def fail_as_jobs_do(job, device):
    raise JobFailed("the message", True)


def answer_nonsense(job, device):
    return threading.Lock()


def outlive_restart(job, runs, device):
    """Note that it runs; how often its Slurm job was restarted, once it was."""
    runs.touch()
    restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    try:
        time.sleep(0 if restarts else 300)
    except SystemExit as error:  # as run_job does
        raise JobFailed("an exit() is a failure", False) from error
    return restarts
