"""How a worker process holds its memory."""

import ctypes
import sys

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
