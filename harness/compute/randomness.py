"""One tree of random generators: every draw belongs to (experiment seed, job, purpose)."""

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive_seed(*path: object) -> int:
    """A 63-bit seed from a path such as ``(0, "train-3f2a", "epoch", 7)``; equal paths give equal seeds."""
    text = "/".join(str(part) for part in path)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*path: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator on ``device`` whose stream is fixed by ``path``."""
    return torch.Generator(device=device).manual_seed(derive_seed(*path))


@contextmanager
def kept() -> Iterator[None]:
    """Give the global generators of torch, numpy and ``random`` back as they were."""
    initialized: Callable[[], bool] = torch.cuda.is_initialized
    devices = list(range(torch.cuda.device_count())) if initialized() else []
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - foreign models draw from it
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def start(seed: int) -> None:
    """Start the global generators of torch, numpy and ``random`` anew."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)


@contextmanager
def seeded(*path: object) -> Iterator[None]:
    """Fix the global generators by ``path``, for models that draw from them, and give them back as they were."""
    with kept():
        start(derive_seed(*path, "global"))
        yield
