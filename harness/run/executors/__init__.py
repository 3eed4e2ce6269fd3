"""Where jobs run; each executor speaks ``concurrent.futures.Executor``, and gives a call its device as last argument.

Must not know what a job is.
"""

from harness.api.errors import HarnessError
from harness.run.executors.inline import InlineExecutor
from harness.run.executors.local import LocalExecutor, WorkerDied
from harness.run.executors.slots import Slot, default_slots

__all__ = ["EXECUTORS", "InlineExecutor", "LocalExecutor", "Slot", "WorkerDied", "default_slots", "executor_for"]

EXECUTORS = ("local", "inline")


def executor_for(name: str, workers: int | None) -> InlineExecutor | LocalExecutor:
    """The executor called ``name``, with so many workers (default: one per device).

    Raises:
        HarnessError: for a name that is not known, or no workers at all.
    """
    if name not in EXECUTORS:
        raise HarnessError(f"unknown executor {name!r}. Known: {', '.join(EXECUTORS)}.")
    if workers is not None and workers < 1:
        raise HarnessError(f"--workers must be at least 1, got {workers}")
    slots = default_slots(workers)
    return InlineExecutor(slots[0]) if name == "inline" else LocalExecutor(slots)
