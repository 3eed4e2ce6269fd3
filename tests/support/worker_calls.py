"""What tests have worker processes do: in a module of its own, which a fresh process can import."""

import os
import signal
import time

import torch

from harness.run.worker import JobFailed


def where(*words):
    return (*words, os.getpid(), torch.get_num_threads())


def fail(message, device):
    raise ValueError(message)


def die(device):
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(seconds, device):
    time.sleep(seconds)


def fail_as_jobs_do(device):
    raise JobFailed("the message", True)


def answer_nonsense(device):
    return lambda: None
