"""One tree of random generators: every draw belongs to (experiment seed, job, purpose)."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch


def derive_seed(*path: object) -> int:
    """A 63-bit seed from a path such as ``(0, "train-3f2a", "epoch", 7)``; equal paths give equal seeds."""
    text = "/".join(str(part) for part in path)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*path: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator on ``device`` whose stream is fixed by ``path``."""
    return torch.Generator(device=device).manual_seed(derive_seed(*path))


def kept() -> AbstractContextManager[None]:
    """Give torch's global generators back as they were."""
    initialized: Callable[[], bool] = torch.cuda.is_initialized
    return torch.random.fork_rng(devices=list(range(torch.cuda.device_count())) if initialized() else [])


@contextmanager
def seeded(*path: object) -> Iterator[None]:
    """Fix torch's global generators by ``path``, for models that draw from them, and give them back as they were."""
    with kept():
        torch.manual_seed(derive_seed(*path, "global"))
        yield
