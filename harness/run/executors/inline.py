"""Jobs in this process: for tests and debugging."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

import torch

from harness.run.executors.slots import Slot

T = TypeVar("T")


class InlineExecutor(Executor):
    """Runs each call at once."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot

    def submit(self, call: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``call(*args, device)`` now; errors wait in the future, an interrupt does not."""
        future: Future[T] = Future()
        threads = torch.get_num_threads()
        torch.set_num_threads(self._slot.threads)
        try:
            future.set_result(call(*args, self._slot.device, **kwargs))
        except Exception as error:
            future.set_exception(error)
        finally:
            torch.set_num_threads(threads)
        return future
