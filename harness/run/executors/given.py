"""Jobs on somebody else's executor: a process pool's, MPI's, a dask cluster's."""

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from functools import partial
from importlib.util import find_spec
from typing import Any, TypeVar
from uuid import uuid4

from harness.api.errors import HarnessError
from harness.run.executors.local import WorkerDied
from harness.run.executors.slots import default_slots

T = TypeVar("T")
_alone = threading.Lock()


class GivenExecutor(Executor):
    """Passes each call on to ``executor``, which says where and when it runs; ``workers`` of them at once, it is said.

    A call gets the first GPU that its process sees, or the CPU, as last argument. In one process one call runs at a
    time. What the executor itself raises (a dead worker, a lost connection) is :class:`WorkerDied`. ``close`` is called
    at the end: without it, the executor stays whoever's it is. One that is not open any more may wait for ever.
    """

    def __init__(
        self,
        executor: Executor,
        workers: int = 1,
        *,
        close: Callable[[], object] = lambda: None,
        is_open: Callable[[], bool] = lambda: True,
    ) -> None:
        self.workers = workers
        self._executor, self._close, self._is_open = executor, close, is_open
        self._theirs: dict[Future[Any], Future[bytes]] = {}
        self._cancelling = False

    def submit(self, call: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have the executor run ``call(*args, device)``; ``call`` and ``args`` must pickle if it has processes."""
        future: Future[T] = Future()
        if not self._is_open():
            future.set_exception(WorkerDied("the executor is closed, or its connection was lost for good"))
            return future
        try:  # dask takes equal calls for one: a word tells them apart
            theirs = self._executor.submit(_work, partial(call, *args, **kwargs), uuid4().hex)
        except Exception as error:  # a pool that is broken or closed
            future.set_exception(_failure(error))
            return future
        self._theirs[future] = theirs
        theirs.add_done_callback(partial(self._settle, future))
        return future

    def everywhere(self, call: Callable[[str], T]) -> list[Future[T]]:
        """Run ``call(device)`` on one worker, whichever is free."""
        return [self.submit(call)]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let all calls finish; with ``cancel_futures``, drop what the executor has not begun, and wait for nothing."""
        self._cancelling = cancel_futures
        if cancel_futures:
            for theirs in list(self._theirs.values()):
                theirs.cancel()
        elif wait:
            _wait(list(self._theirs))
        self._close()

    def _settle(self, future: Future[Any], theirs: Future[bytes]) -> None:
        """Pass on what came of the call, or why nothing did."""
        if theirs.cancelled() and self._cancelling:
            future.cancel()
            future.set_running_or_notify_cancel()
        elif theirs.cancelled():
            future.set_exception(WorkerDied("the executor gave the job up: it was closed, or its connection was lost"))
        elif error := theirs.exception():
            future.set_exception(_failure(error))
        else:
            succeeded, value = _unpacked(theirs.result())
            (future.set_result if succeeded else future.set_exception)(value)
        self._theirs.pop(future, None)


_wait = wait  # inside a method that has an argument of this name


def _failure(error: BaseException) -> WorkerDied:
    return WorkerDied(f"the executor lost the job: {type(error).__name__}: {error}")


def _work(call: Callable[[str], Any], _: str) -> bytes:
    """What a worker does with a call. Threads of one process share torch's state, so they wait for one another.

    The answer comes back as bytes, since dask hangs on what does not pickle.
    """
    (slot,) = default_slots(1)
    with _alone:
        answer = slot.answer(call)
    try:
        return pickle.dumps(answer)
    except Exception as error:
        return pickle.dumps((False, TypeError(f"the answer does not pickle: {error}")))


def _unpacked(answer: bytes) -> tuple[bool, Any]:
    try:
        succeeded, value = pickle.loads(answer)
    except Exception as error:  # of a class that this process cannot make again
        return False, error
    return succeeded, value


def on_dask(address: str, timeout: float = 30.0) -> GivenExecutor:
    """The executor of the dask cluster whose scheduler is at ``address``, such as ``tcp://host:8786``.

    It must answer within ``timeout`` seconds, also when the connection was lost.

    Raises:
        HarnessError: without an address or dask.distributed, or if no scheduler answers.
    """
    if not address:
        raise HarnessError("--executor dask needs the address of a scheduler: --dask tcp://host:8786")
    if find_spec("distributed") is None:
        raise HarnessError("--executor dask needs dask.distributed: pip install 'robustness-harness[dask]'")
    from distributed import Client

    try:
        client = Client(address, timeout=timeout)
    except (OSError, ValueError, TypeError) as error:
        raise HarnessError(f"no dask scheduler answers at {address!r} (it is like tcp://host:8786): {error}") from error
    workers = len(client.scheduler_info(n_workers=-1)["workers"])
    return GivenExecutor(
        client.get_executor(),
        max(workers, 1),
        close=client.close,
        is_open=lambda: client.status in {"running", "connecting"},
    )
