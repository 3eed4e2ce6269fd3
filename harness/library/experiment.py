"""``harness run`` from Python: the same jobs in the same workspace, on any executor."""

from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.plan.graph import Request
from harness.run import session
from harness.run.executors import GivenExecutor, executor_for
from harness.run.scheduler import Outcome
from harness.run.workspace import Workspace
from results.store import Store


def run_experiment(
    methods: Sequence[str],
    dataset: str = "digits",
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    shards: int = 1,
    workspace: Path | str = "runs",
    store: str | None = None,
    data_root: Path | str = "data",
    plugins: Sequence[Path] = (),
    quiet: bool = False,
    **words: Any,
) -> Outcome:
    """Train each method, attack every model alike and store all outcomes; what is done already is not done again.

    ``executor`` is any :class:`concurrent.futures.Executor`: a process pool, a dask client's ``get_executor()``. It is
    given the jobs and left as it is. Without one, jobs run as with ``harness run``. ``workers`` is how many run at
    once, ``shards`` into how many jobs an evaluation is divided, ``store`` the URL of a database in place of the
    workspace's own. ``words`` are those of ``harness run``, by the names of :class:`harness.plan.graph.Request`:
    ``attacks=["fgsm"], seeds=[0, 1], epochs=3, settings=["trades.beta=3"]``. What comes back holds the ids of the jobs
    by what became of them: ``reused``, ``done``, ``failed`` and ``blocked``, the last two with the reason; the numbers
    are those of :func:`results.queries.long_form`.

    Raises:
        HarnessError: for any unknown name or impossible value; nothing has been started.
        harness.run.session.Interrupted: on Ctrl-C; everything finished is recorded.
    """
    here = Workspace.at(Path(workspace), dataset, Path(data_root), plugins)
    with GivenExecutor(executor, workers or 1) if executor else executor_for("local", workers, here) as pool:
        jobs, _ = session.prepare(here, partial(Request, methods, **words), pool, shards)
        return session.run(here, jobs, Store.open(store or here.database), Console(), pool, quiet=quiet)
