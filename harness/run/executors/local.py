"""Jobs in worker processes, one for each device."""

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from harness.run.executors.slots import Slot

T = TypeVar("T")
_Task = tuple["Future[Any]", Callable[..., Any]]


class WorkerDied(Exception):
    """A worker process ended in the middle of a job (killed, out of memory)."""


class TimeLimitReached(Exception):
    """A job took longer than it may, and was ended."""


class LocalExecutor(Executor):
    """One worker process per slot. A worker that dies fails its own job only and is replaced.

    So does one whose call takes longer than ``hours`` (None: no limit), which is ended. A call gets its slot's device
    as last argument; ``workers`` calls run at once. Workers end when this process ends, however it ends.
    """

    def __init__(self, slots: Sequence[Slot], hours: float | None = None) -> None:
        self.workers, self._hours = len(slots), hours
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._processes: dict[int, multiprocessing.process.BaseProcess] = {}
        self._closing = False
        self._threads = [
            threading.Thread(target=self._serve, args=(number, slot), daemon=True) for number, slot in enumerate(slots)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, call: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Queue ``call(*args, device)`` for the next free slot; ``call`` and ``args`` must pickle."""
        future: Future[T] = Future()
        self._tasks.put((future, partial(call, *args, **kwargs)))
        return future

    def everywhere(self, call: Callable[[str], T]) -> list[Future[T]]:
        """Run ``call(device)`` on every slot. All must be idle: then each takes one and is busy starting its worker."""
        return [self.submit(call) for _ in self._threads]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let queued calls finish; with ``cancel_futures``, drop them and end the running ones at once."""
        if cancel_futures:
            self._closing = True
            for worker in list(self._processes.values()):
                worker.kill()
        for _ in self._threads:
            self._tasks.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _serve(self, number: int, slot: Slot) -> None:
        """Feed one slot's worker, starting a new one when there is none, and after a job that failed unexpectedly.

        What such a job leaves behind (memory, a broken CUDA context) ends with its process.
        """
        if hasattr(signal, "pthread_sigmask"):  # workers inherit it: Ctrl-C is the scheduler's, even while they start
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        connection: Connection | None = None
        while (task := self._tasks.get()) is not None:
            future, call = task
            if self._closing:
                future.cancel()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                connection = connection or self._start(number, slot)
                connection.send(call)
                self._wait(number, connection)
                succeeded, value = connection.recv()
            except (EOFError, OSError):
                code = self._end(number, connection)
                connection = None
                future.set_exception(WorkerDied(f"the worker process died (exit code {code})"))
            except Exception as error:  # its time is up; a call or an answer that does not pickle
                self._end(number, connection)
                connection = None
                future.set_exception(error)
            else:
                (future.set_result if succeeded else future.set_exception)(value)
                if not succeeded:
                    self._end(number, connection)
                    connection = None
        self._end(number, connection)

    def _wait(self, number: int, connection: Connection) -> None:
        """Until the worker answers or dies, or its time is up: then it is ended."""
        if connection.poll(None if self._hours is None else 3600 * self._hours):
            return
        self._processes[number].kill()
        raise TimeLimitReached(
            f"the job took longer than --time-limit {self._hours:g} (hours), and was ended. It goes on from its last "
            "checkpoint when the same command is given again, which helps if the limit was too short; harness show has "
            "the end of its log, which helps if it hung"
        )

    def _end(self, number: int, connection: Connection | None) -> int | None:
        """Close the connection, which ends the worker, and wait for it: its exit code."""
        if connection:
            connection.close()
        worker = self._processes.get(number)
        if worker is None:
            return None
        worker.join()
        return worker.exitcode

    def _start(self, number: int, slot: Slot) -> Connection:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        worker = context.Process(target=_work, args=(theirs, slot), daemon=True)
        worker.start()
        theirs.close()
        self._processes[number] = worker
        if self._closing:
            worker.kill()
        ours.recv()  # the time that starting takes is not a call's
        return ours


def _work(connection: Connection, slot: Slot) -> None:
    """A worker's life: take calls until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the scheduler's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    slot.occupy()
    with contextlib.suppress(EOFError, OSError):
        connection.send("ready")
        while True:
            connection.send(slot.answer(connection.recv()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
