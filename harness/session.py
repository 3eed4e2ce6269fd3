"""A whole run from the user's words to a filled store: what ``harness run`` does."""

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from harness.datasets import load
from harness.errors import HarnessError
from harness.executors import InlineExecutor, LocalExecutor, default_slots
from harness.experiment import Job, Request, plan
from harness.progress import Lines, Live, Silent
from harness.registry import load_plugins
from harness.scheduler import Outcome, Place, Scheduler
from harness.specs import EvaluateSpec, TrainSpec, parse_spec
from harness.threat import Threat
from results.store import Store

EXECUTORS = ("local", "inline")


class Interrupted(Exception):
    """The user pressed Ctrl-C; everything finished is recorded."""


def prepare(place: Place, ask: Callable[..., Request]) -> list[Job]:
    """Load the plugins and the data set, then plan: every name and setting is checked before any work starts."""
    load_plugins(place.plugins)
    return plan(ask(data=load(place.dataset, place.data_root)), _done_before(place.workspace / "jobs"))


def _done_before(jobs: Path) -> list[EvaluateSpec]:
    """The finished evaluations in the workspace; those of other versions of the harness are passed over."""
    specs = []
    for path in sorted(jobs.glob("evaluate-*/result.json")):
        with contextlib.suppress(OSError, ValidationError):
            specs.append(parse_spec(path.with_name("spec.json").read_text()))
    return [spec for spec in specs if isinstance(spec, EvaluateSpec)]


def describe(jobs: Sequence[Job]) -> str:
    """The protocol of the run in a few lines: it belongs to every number that follows."""
    trains = [job.spec for job in jobs if isinstance(job.spec, TrainSpec)]
    evaluations = [job.spec for job in jobs if isinstance(job.spec, EvaluateSpec)]
    first, protocol = trains[0], trains[0].protocol
    threat = Threat(**first.threat.model_dump())
    examples = evaluations[0].test_examples
    return (
        f"{first.dataset.name}: {', '.join(dict.fromkeys(spec.method.name for spec in trains))}; "
        f"seeds {', '.join(str(seed) for seed in dict.fromkeys(spec.seed for spec in trains))}\n"
        f"{first.model}, {threat}, {protocol.epochs} epochs of "
        f"{first.dataset.train_examples or 'all'} training examples "
        f"({first.dataset.validation_fraction:.0%} held out for validation), batch {protocol.batch_size}, "
        f"lr {protocol.lr:g} {protocol.schedule}, {protocol.precision}\n"
        f"attacks {', '.join(dict.fromkeys(spec.attack.name for spec in evaluations))} on "
        f"{'all' if examples is None else f'the first {examples}'} test examples, "
        f"checkpoints {', '.join(dict.fromkeys(spec.checkpoint for spec in evaluations))}"
    )


def run(
    place: Place,
    jobs: Sequence[Job],
    store: Store,
    console: Console,
    executor: Executor,
    *,
    quiet: bool = False,
) -> Outcome:
    """Run the jobs, show progress, and shut the executor down.

    Raises:
        Interrupted: on Ctrl-C, after the workers were stopped.
    """
    observer = (Silent if quiet else Live if console.is_terminal else Lines)(place, console)
    done = sum((place.directory(job.id) / "result.json").exists() for job in jobs)
    observer.begin(jobs, done)
    finished = False
    try:
        outcome = Scheduler(place, store, executor, observer).run(jobs)
        finished = True
    except KeyboardInterrupt:
        raise Interrupted from None
    finally:
        observer.end()
        executor.shutdown(wait=True, cancel_futures=not finished)
    return outcome


def executor_for(name: str, workers: int | None) -> Executor:
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


def place_of(workspace: Path, dataset: str, data_root: Path, plugins: Sequence[Path]) -> Place:
    """A place with absolute paths, so that workers find it from anywhere."""
    if dataset.startswith("imagefolder:"):
        dataset = f"imagefolder:{Path(dataset.removeprefix('imagefolder:')).expanduser().resolve()}"
    return Place(workspace.resolve(), dataset, data_root.resolve(), tuple(path.resolve() for path in plugins))
