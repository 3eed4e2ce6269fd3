"""The places to run a job on a machine, and what a worker process does there."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from harness.api.errors import HarnessError
from harness.compute.memory import keep_freed_memory


@dataclass(frozen=True)
class Slot:
    """One place to run a job: a device, or several between commas, and the CPU threads for each of them."""

    device: str
    threads: int

    def occupy(self) -> None:
        """Make this process, a worker, that of the slot."""
        torch.set_num_threads(self.threads)
        keep_freed_memory()

    def answer(self, call: Callable[[str], Any]) -> tuple[bool, Any]:
        """Whether ``call(device)`` succeeded, and its value or its error."""
        try:
            return True, call(self.device)
        except Exception as error:
            return False, error


def parse_devices(text: str) -> list[int]:
    """The GPUs in ``0,2``; none in an empty text.

    Raises:
        HarnessError: for what is no number of a GPU of this machine.
    """
    there = range(torch.cuda.device_count())
    words = text.split(",") if text else []
    if any(not word.isdecimal() or int(word) not in there for word in words):
        gpus = f"which has GPUs 0 to {there[-1]}" if there else "which has no GPU that PyTorch can use"
        raise HarnessError(f"--devices takes numbers of GPUs of this machine, {gpus}: got {text!r}")
    return [int(word) for word in dict.fromkeys(words)]


def default_slots(workers: int | None = None, devices: Sequence[int] = (), each: int = 1) -> list[Slot]:
    """One slot per GPU; without a GPU, one per CPU core (at most 8), the cores shared out among them.

    ``workers`` asks for that many slots instead, dealt out over the GPUs in turn: all of them, or ``devices`` alone.
    With ``each`` above 1, that many GPUs, or processes on the CPU, are one place.

    Raises:
        HarnessError: if there are GPUs, and fewer than one place needs.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = devices or range(torch.cuda.device_count())
    places = [",".join(f"cuda:{gpu}" for gpu in gpus[at : at + each]) for at in range(0, len(gpus) - each + 1, each)]
    if gpus and not places:
        raise HarnessError(f"--devices-per-job {each} is more than the {len(gpus)} GPUs that there are")
    places = places or [",".join(["cpu"] * each)]
    count = workers or (len(places) if gpus else max(1, min(cores, 8) // each))
    threads = max(1, cores // (count * each))
    return [Slot(places[index % len(places)], threads) for index in range(count)]
