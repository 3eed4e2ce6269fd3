"""One job of a run that goes on elsewhere is ended: a file asks for it, and the job's own worker sees to it."""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CANCELLED = "cancelled: harness retry does it again"
POLL_SECONDS = 1.0


class Cancelled(BaseException):
    """Somebody wants the job to end: nothing that a job does with its own errors may hold it up."""

    def __str__(self) -> str:
        return CANCELLED


@contextmanager
def cancellable(request: Path) -> Iterator[None]:
    """Raise :class:`Cancelled` in this thread once the file is there; it is removed when the block ends.

    That is at the next step of Python code: a call that computes, waits or hangs outside of it comes to its end first.
    """
    thread, ended = threading.get_ident(), threading.Event()

    def watch() -> None:
        while not ended.wait(POLL_SECONDS):
            if request.exists():
                _raise_in(thread, Cancelled)
                return

    watcher = threading.Thread(target=watch, daemon=True)
    try:
        if request.exists():
            raise Cancelled
        watcher.start()
        yield
    finally:
        ended.set()
        with suppress(Cancelled):  # one that came too late; taking it back would leave the interpreter on the alert
            if watcher.ident:
                watcher.join()
            request.unlink(missing_ok=True)


def _raise_in(thread: int, error: type[BaseException]) -> None:
    """Have the thread raise the error at its next step."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
