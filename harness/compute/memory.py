"""What happens when memory runs out, and how a worker process holds it."""

import ctypes
import logging
import sys
from collections.abc import Callable
from typing import TypeVar

import torch

log = logging.getLogger("harness")
T = TypeVar("T")

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Keep freed memory for the next tensor in place of giving it back to the system; whether this system can.

    The GNU C library returns large blocks at once, so that every activation of a small network on the CPU is paged in
    anew, at up to half of the time. It holds for the rest of the process, which is why only workers do it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    # Older versions take no threshold above 32 MiB.
    large = bool(mallopt(_MMAP_THRESHOLD, 2**30)) or bool(mallopt(_MMAP_THRESHOLD, 2**25))
    return bool(mallopt(_TRIM_THRESHOLD, _NEVER)) and large


def ran_out(error: BaseException) -> bool:
    """Whether the error says that there is no memory left, on a GPU or in main memory."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def attempt(work: Callable[[], T], *kinds: type[Exception]) -> T | None:
    """``work()``, or None if it fails with one of these errors (default: any), unless memory ran out.

    For what a foreign model may raise while it is looked at. A lack of memory says nothing about the model: it is
    raised again, and whoever called tries with fewer images (:func:`fitting`).
    """
    caught = kinds or (Exception,)
    try:
        return work()
    except caught as error:
        if ran_out(error):
            raise
    return None


def fitting(work: Callable[[int], T], size: int) -> tuple[T, int]:
    """``work(size)``, half the size as often as memory runs out, which is logged; and the size that it took."""
    while True:
        try:
            return work(size), size
        except Exception as error:
            if size == 1 or not ran_out(error):
                raise
        log.warning("memory ran out with %d images at once: trying %d", size, size // 2)
        size //= 2
        torch.cuda.empty_cache()  # does nothing where CUDA was not used
