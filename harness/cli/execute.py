"""The command that trains and attacks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from harness.api.errors import CodeFailed, HarnessError
from harness.cli.application import (
    DATA,
    DEFAULT_ATTACKS,
    RUNS,
    Attacks,
    DataRoot,
    Dataset,
    Eps,
    Norm,
    Plugins,
    StorePlace,
    WorkspacePath,
    app,
    completing,
    names,
    parse_eps,
    typed,
)
from harness.cli.experiment import THIS_CALL, as_command, keep_experiment, read_experiment, settings_of
from harness.cli.planned import show_plan
from harness.cli.show import open_store, show_report
from harness.cli.watch import detach
from results.errors import JobUnreadable
from results.layout import WorkspaceFiles

if TYPE_CHECKING:
    from harness.plan.graph import Job
    from harness.run.calls import Done
    from harness.run.executors import JobExecutor
    from harness.run.workspace import Workspace
    from results.store import Store


def _number_of_seeds(text: str) -> int:
    if str(text).isdecimal() and int(text) > 0:
        return int(text)
    raise typer.BadParameter(f"takes how many seeds, got {text!r}: seeds 3 and 4 are --seed 3 --seeds 2")


@contextmanager
def _asked_for_in(file: Path | None) -> Iterator[None]:
    """What is wrong with the settings of an experiment says where they come from."""
    try:
        yield
    except HarnessError as error:
        if file is None or isinstance(error, CodeFailed):
            raise
        raise HarnessError(f"{error} (settings: {file} and the command line)") from error


@app.command()
def run(
    context: typer.Context,
    experiment: Annotated[
        Path | None,
        typer.Argument(
            help="A TOML file with options by their long names, which the command line overrides.",
            callback=read_experiment,
            is_eager=True,
        ),
    ] = None,
    methods: Annotated[
        str,
        typer.Option(help="Comma-separated names, or all, or all,ablations.", autocompletion=completing("methods")),
    ] = "all",
    dataset: Dataset = "digits",
    attacks: Attacks = DEFAULT_ATTACKS,
    checkpoints: Annotated[str, typer.Option(help="Which checkpoints to attack.")] = "best,last",
    seeds: Annotated[
        int, typer.Option(parser=_number_of_seeds, metavar="N", help="How many seeds, counted from --seed.")
    ] = 1,
    seed: Annotated[int, typer.Option(help="The first seed.")] = 0,
    model: Annotated[
        str | None,
        typer.Option(
            help="A model (see harness models); default: the data set's.", autocompletion=completing("models")
        ),
    ] = None,
    norm: Norm = None,
    eps: Eps = None,
    eval_eps: Annotated[
        str | None, typer.Option(help="Radii to attack at, e.g. 2/255,4/255,8/255; default: that of the training.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Training length; default: the data set's.")] = None,
    train_examples: Annotated[int | None, typer.Option(min=1, help="Train on the first N images only.")] = None,
    test_examples: Annotated[int | None, typer.Option(min=1, help="Attack the first N test images only.")] = None,
    features: Annotated[
        bool,
        typer.Option("--features", help="Measure features of test images too, for more figures."),
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="METHOD.FIELD=VALUE, or several values: trades.beta=1,3; also protocol, threat, features, ...",
        ),
    ] = None,
    plugin: Plugins = None,
    workers: Annotated[
        int | None, typer.Option(help="Jobs at once; default: one per GPU, or per CPU core; with Slurm 64.")
    ] = None,
    devices: Annotated[str, typer.Option(help="GPUs of this machine: 0,2; default: all.", metavar="NUMBERS")] = "",
    devices_per_job: Annotated[int, typer.Option(min=1, help="How many GPUs train one model together.")] = 1,
    time_limit: Annotated[
        float | None, typer.Option(min=0.001, help="Hours after which a job of a local worker is ended.")
    ] = None,
    executor: Annotated[
        str,
        typer.Option(help="local (worker processes), slurm (one Slurm job for each), dask (a cluster) or inline."),
    ] = "local",
    shards: Annotated[int, typer.Option(min=1, help="Divide each evaluation into so many jobs.")] = 1,
    slurm: Annotated[
        str, typer.Option(help="Options of sbatch: partition=gpu,gpus=1,time=4:00:00,account=me.", metavar="OPTIONS")
    ] = "",
    dask: Annotated[
        str, typer.Option(help="The address of a dask scheduler: tcp://host:8786.", metavar="ADDRESS")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what there is to do, and do nothing.", rich_help_panel=THIS_CALL)
    ] = False,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="With --dry-run: try a few batches of each kind of job here.", rich_help_panel=THIS_CALL
        ),
    ] = False,
    price: Annotated[float | None, typer.Option(min=0, help="Of an hour of one device, for --dry-run.")] = None,
    detached: Annotated[
        bool,
        typer.Option(
            "--detach", help="Go on when this terminal is closed; say how to follow.", rich_help_panel=THIS_CALL
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only failures and the table.", rich_help_panel=THIS_CALL)
    ] = False,
    workspace: WorkspacePath = RUNS,
    store: StorePlace = None,
    data_root: DataRoot = DATA,
) -> None:
    """Train each method, attack every model alike, store all outcomes, print the tables.

    What is done already is never done again: after an interruption, the same command goes on.

    The workspace keeps what was asked for as experiments/NAME.toml, which asks for it again.

    Example: harness run --methods trades,trades-ancra --dataset cifar10 --seeds 3
    """
    from harness.run.calls import key_of, recall, remember
    from harness.run.workspace import Workspace

    words = {
        "methods": names(methods),
        "attacks": names(attacks),
        "checkpoints": names(checkpoints),
        "seeds": [*range(seed, seed + seeds)],
        "model": model,
        "norm": norm,
        "eps": eps,
        "eval_eps": names(eval_eps or ""),
        "epochs": epochs,
        "train_examples": train_examples,
        "test_examples": test_examples,
        "features": features,
        "settings": settings or [],
    }
    if measure and not dry_run:
        raise typer.BadParameter("belongs to --dry-run", param_hint="--measure")
    if detached and not dry_run:
        detach(WorkspaceFiles(workspace))
        return
    asked = settings_of(context)
    command = typed(as_command(context, asked) if experiment else None)
    here = Workspace.at(workspace, dataset, data_root, plugin or [], command)
    key = key_of(here, words)
    done = recall(here, key) if key and not dry_run else None
    shown = WorkspaceFiles(workspace)  # as the user wrote it
    if done and _show_done(here, done, open_store(shown, store, create=True), shown, quiet=quiet):
        return
    where: dict[str, Any] = {"name": executor, "workers": workers, "devices": devices, "each": devices_per_job}
    where |= {"hours": time_limit, "slurm": slurm, "dask": dask}
    with _asked_for_in(experiment):
        pool, jobs, described = _plan(here, words, where, shards)
    if dry_run:
        typer.echo(described)
        _dry_run(here, pool, jobs, price, measure=measure)
        return
    keep_experiment(here, asked)
    opened = open_store(shown, store, create=True)
    evaluated, written = _run_jobs(here, pool, jobs, described, opened, shown, quiet=quiet)
    if key:
        remember(here, key, [job.id for job in jobs], evaluated, written, described, opened)


def _show_done(here: "Workspace", done: "Done", store: "Store", shown: WorkspaceFiles, *, quiet: bool) -> bool:
    """What a call prints that has nothing to do; false, and nothing printed, where a job of it is damaged.

    ``shown`` is the workspace as the user wrote it. The database is told of what it lacks.
    """
    from harness.run.calls import is_current

    console, current = Console(), is_current(here, done, store)
    try:
        for job in () if current else done.jobs:
            store.ingest(here.job(job).directory)
    except JobUnreadable:
        return False
    if not quiet:
        console.print(done.description, markup=False, highlight=False, soft_wrap=True)
        console.print(f"{len(done.jobs)} jobs, {len(done.jobs)} done before", highlight=False)
    show_report(
        console, store, shown, done.evaluated, [shown.reports / name for name in done.written] if current else None
    )
    return True


def _plan(
    here: "Workspace", words: dict[str, Any], where: dict[str, Any], shards: int
) -> "tuple[JobExecutor, list[Job], str]":
    """The executor, the jobs of these words, and their protocol in words."""
    from functools import partial

    from harness.plan.graph import Request
    from harness.run.executors import executor_for
    from harness.run.session import describe, prepare

    pool = executor_for(workspace=here, **where)
    radii = {"eps": parse_eps(words["eps"]), "eval_eps": [*map(parse_eps, words["eval_eps"])]}
    jobs, why = prepare(here, partial(Request, **{**words, **radii}), pool, shards)
    return pool, jobs, describe(jobs, why)


def _dry_run(here: "Workspace", pool: "JobExecutor", jobs: "list[Job]", price: float | None, *, measure: bool) -> None:
    """Print the plan; what is measured for it is kept in the workspace, for later plans and for the time left."""
    console = Console()
    try:
        if measure:
            from harness.run.costs import read_costs, save_costs
            from harness.run.measure import measure as measured

            with console.status("measuring a few batches of each kind of job"):
                found = measured(jobs, here, pool)
            save_costs(here.costs, {**read_costs(here.costs), **found})
        show_plan(console, here, jobs, pool.workers, price)
    finally:
        pool.shutdown(cancel_futures=True)


def _run_jobs(
    here: "Workspace",
    pool: "JobExecutor",
    jobs: "list[Job]",
    described: str,
    store: "Store",
    shown: WorkspaceFiles,
    *,
    quiet: bool,
) -> tuple[set[str], Sequence[Path]]:
    """Run the jobs and print what came of them: which evaluations are done, and the reports."""
    from harness.run import session

    console = Console()
    if not quiet:
        console.print(described, markup=False, highlight=False, soft_wrap=True)
    try:
        outcome = session.run(here, jobs, store, console, pool, quiet=quiet)
    except session.Interrupted:
        console.print("interrupted; everything finished is kept. The same command goes on where this one stopped.")
        raise typer.Exit(130) from None
    evaluated = {*outcome.done, *outcome.reused} & {job.id for job in jobs if job.needs}
    written = show_report(console, store, shown, evaluated) if evaluated else []
    if outcome.failed:
        lost = len(outcome.failed) + len(outcome.blocked)
        console.print(f"{lost} of {len(jobs)} jobs failed or could not start; see harness status", style="red")
        raise typer.Exit(1)
    return evaluated, written
