"""A scheduler at work, for tests that let two of them meet: ``python shared_work.py WORKSPACE STORE`` is one."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console

from harness.plan.graph import Request
from harness.run.executors.inline import InlineExecutor
from harness.run.executors.slots import Slot
from harness.run.session import prepare, run
from harness.run.workspace import Workspace
from results.store import Store


def work(workspace: Path, store: Path | str, about_to_begin: Callable[[], object]) -> list[int]:
    """Plan four jobs and run them: how many ended well, and how many failed."""
    place = Workspace.at(workspace, "digits", workspace / "data", [])
    size = {"epochs": 3, "train_examples": 600, "test_examples": 20}
    executor = InlineExecutor(Slot("cpu", 1))
    ask = partial(Request, methods=["natural"], attacks=["fgsm"], checkpoints=["last"], **size)
    jobs, _ = prepare(place, ask, executor)
    about_to_begin()
    outcome = run(place, jobs, Store.open(store), Console(), executor, quiet=True)
    return [len(outcome.done) + len(outcome.reused), len(outcome.failed)]


if __name__ == "__main__":
    print(*work(Path(sys.argv[1]), sys.argv[2], lambda: print("ready", flush=True)))
