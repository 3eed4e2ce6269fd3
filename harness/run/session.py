"""A whole run from the user's words to a filled store: what ``harness run`` does."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from harness.api.specs import EvaluateSpec, TrainSpec
from harness.api.threat import Threat
from harness.compute.precision import PRECISIONS
from harness.datasets import load
from harness.plan.graph import Job, Request, plan
from harness.plan.shards import in_shards
from harness.plugins import load_plugins
from harness.run.executors import JobExecutor
from harness.run.following import save_plan
from harness.run.precision import resolve
from harness.run.presence import at_work
from harness.run.progress import Lines, Live, Silent
from harness.run.scheduler import Outcome, Scheduler
from harness.run.status import finished_jobs
from harness.run.workspace import Workspace
from results.store import Store


class Interrupted(Exception):
    """The user pressed Ctrl-C; everything finished is recorded."""


def prepare(
    workspace: Workspace, ask: Callable[..., Request], pool: JobExecutor, shards: int = 1
) -> tuple[list[Job], str | None]:
    """Load the plugins and the data set, then plan: every name and setting is checked before any work starts.

    The jobs, evaluations divided into ``shards``, and why their precision is what it is; None where it was asked for
    (:func:`resolve`).
    """
    load_plugins(workspace.plugins)
    request, earlier = ask(data=load(workspace.dataset, workspace.data_root)), _done_before(workspace.jobs)
    plans = {precision: plan(request, earlier, precision) for precision in PRECISIONS}
    auto, why = resolve(plans, workspace, pool)
    return in_shards(plans[auto], shards, len(request.data.test), lambda job: workspace.job(job).result.exists()), why


def _done_before(jobs: Path) -> list[EvaluateSpec]:
    """The finished evaluations in the workspace."""
    return [spec for _, spec in finished_jobs(jobs, "evaluate") if isinstance(spec, EvaluateSpec)]


def describe(jobs: Sequence[Job], why: str | None) -> str:
    """The protocol of the run in a few lines: it belongs to every number that follows.

    ``why`` says what a precision that nobody asked for was chosen by.
    """
    trains = [job.spec for job in jobs if isinstance(job.spec, TrainSpec)]
    evaluations = [job.spec for job in jobs if isinstance(job.spec, EvaluateSpec)]
    first, protocol = trains[0], trains[0].protocol
    threat = Threat.of(first.threat)
    examples = evaluations[0].test_examples
    return (
        f"{first.dataset.name}: {', '.join(dict.fromkeys(job.label for job in jobs))}; "
        f"seeds {', '.join(str(seed) for seed in dict.fromkeys(spec.seed for spec in trains))}\n"
        f"{first.model}, {threat}, {protocol.epochs} epochs of "
        f"{first.dataset.train_examples or 'all'} training examples "
        f"({first.dataset.validation_fraction:.0%} held out for validation), batch {protocol.batch_size}, "
        f"lr {protocol.lr:g} {protocol.schedule}, {protocol.precision}{f' (auto: {why})' if why else ''}\n"
        f"attacks {', '.join(dict.fromkeys(spec.attack.name for spec in evaluations))} on "
        f"{'all' if examples is None else f'the first {examples}'} test examples, "
        f"checkpoints {', '.join(dict.fromkeys(spec.checkpoint for spec in evaluations))}"
    )


def run(
    workspace: Workspace,
    jobs: Sequence[Job],
    store: Store,
    console: Console,
    executor: JobExecutor,
    *,
    quiet: bool = False,
) -> Outcome:
    """Run the jobs, show progress here and to whoever follows, and shut the executor down.

    Raises:
        Interrupted: on Ctrl-C, after the workers were stopped.
    """
    kind = Silent if quiet else Live if console.is_terminal else Lines
    observer = kind(workspace, console, executor.workers)
    save_plan(workspace, jobs, executor.workers)
    finished = False
    try:
        with at_work(workspace):
            outcome = Scheduler(workspace, store, executor, observer).run(jobs)
        finished = True
    except KeyboardInterrupt:
        raise Interrupted from None
    finally:
        observer.end()
        executor.shutdown(wait=True, cancel_futures=not finished)
    return outcome
