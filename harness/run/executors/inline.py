"""Jobs in this process: for tests and debugging."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from harness.compute.modes import on_threads
from harness.run.executors.slots import Slot

T = TypeVar("T")


class InlineExecutor(Executor):
    """Runs each call at once."""

    workers = 1

    def __init__(self, slot: Slot) -> None:
        self._slot = slot

    def submit(self, call: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``call(*args, device)`` now; errors wait in the future, an interrupt does not."""
        future: Future[T] = Future()
        with on_threads(self._slot.threads):
            try:
                future.set_result(call(*args, self._slot.device, **kwargs))
            except Exception as error:
                future.set_exception(error)
        return future

    def everywhere(self, call: Callable[[str], T]) -> list[Future[T]]:
        """Run ``call(device)`` on every slot: there is one."""
        return [self.submit(call)]
