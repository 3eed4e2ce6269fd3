"""The command line: parse, call, print. The only module that sees every room; torch is imported where it is needed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from harness.errors import HarnessError
from harness.version import __version__

if TYPE_CHECKING:
    import pandas as pd

    from results.store import Store

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train, attack and compare adversarial-training methods under one protocol.",
)
results_app = typer.Typer(
    invoke_without_command=True, help="Print every number as CSV or JSON, or rebuild the database."
)
app.add_typer(results_app, name="results")

Workspace = Annotated[Path, typer.Option("--workspace", "-w", help="Where jobs, database and reports lie.")]
DataRoot = Annotated[Path, typer.Option(envvar="HARNESS_DATA", help="Where data sets are kept and downloaded to.")]
Dataset = Annotated[str, typer.Option("--dataset", "-d", help="A data set (see harness datasets) or imagefolder:PATH.")]
Attacks = Annotated[str, typer.Option(help="Comma-separated, e.g. fgsm,pgd-100:restarts=5 (see harness attacks).")]
Norm = Annotated[Literal["Linf", "L2"] | None, typer.Option(help="Default: the data set's.")]
Plugins = Annotated[
    list[Path] | None, typer.Option("--plugin", help="A Python file with your own methods; repeatable.")
]
RUNS, DATA = Path("runs"), Path("data")
ATTACKS = "fgsm,pgd-20,cw,autoattack,adaptive"


def main() -> None:
    """The console script: errors that a user can mend are one line and exit code 2."""
    with user_errors():
        app()


@contextmanager
def user_errors() -> Iterator[None]:
    """Print a HarnessError without a traceback."""
    try:
        yield
    except HarnessError as error:
        Console(stderr=True).print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"harness {__version__}")
        raise typer.Exit


@app.command()
def run(
    methods: Annotated[str, typer.Option(help="Comma-separated names, or all, or all,ablations.")] = "all",
    dataset: Dataset = "digits",
    attacks: Attacks = ATTACKS,
    checkpoints: Annotated[str, typer.Option(help="Which checkpoints to attack.")] = "best,last",
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, counted from --seed.")] = 1,
    seed: Annotated[int, typer.Option(help="The first seed.")] = 0,
    model: Annotated[str | None, typer.Option(help="A model (see harness models); default: the data set's.")] = None,
    norm: Norm = None,
    eps: Annotated[str | None, typer.Option(help="Radius for images in [0, 1], e.g. 8/255.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Training length; default: the data set's.")] = None,
    train_examples: Annotated[int | None, typer.Option(help="Train on the first N images only.")] = None,
    test_examples: Annotated[int | None, typer.Option(help="Attack the first N test images only.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="METHOD.FIELD=VALUE or protocol.FIELD=VALUE.")
    ] = None,
    plugin: Plugins = None,
    workers: Annotated[int | None, typer.Option(help="Jobs at once; default: one per GPU, or per CPU core.")] = None,
    executor: Annotated[str, typer.Option(help="local (worker processes) or inline (this process).")] = "local",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only failures and the table.")] = False,
    workspace: Workspace = RUNS,
    data_root: DataRoot = DATA,
) -> None:
    """Train each method, attack every model alike, store all outcomes, print the tables.

    What is done already is never done again: after an interruption, the same command goes on.

    Example: harness run --methods trades,trades-ancra --dataset cifar10 --seeds 3
    """
    from functools import partial

    from harness import session
    from harness.experiment import Request
    from results.store import Store

    console = Console()
    place = session.place_of(workspace, dataset, data_root, plugin or [])
    ask = partial(
        Request,
        methods=_names(methods),
        attacks=_names(attacks),
        checkpoints=_names(checkpoints),
        seeds=range(seed, seed + seeds),
        model=model,
        norm=norm,
        eps=_eps(eps),
        epochs=epochs,
        train_examples=train_examples,
        test_examples=test_examples,
        settings=settings or [],
    )
    jobs = session.prepare(place, ask)
    store = Store.open(workspace / "harness.db")
    if not quiet:
        console.print(session.describe(jobs), markup=False, highlight=False, soft_wrap=True)
    try:
        outcome = session.run(place, jobs, store, console, executor=executor, workers=workers, quiet=quiet)
    except session.Interrupted:
        console.print("interrupted; everything finished is kept. The same command goes on where this one stopped.")
        raise typer.Exit(130) from None
    _report(console, store, workspace, {job.id for job in jobs})
    if outcome.failed:
        lost = len(outcome.failed) + len(outcome.blocked)
        console.print(f"{lost} of {len(jobs)} jobs failed or could not start; see harness status", style="red")
        raise typer.Exit(1)


@app.command()
def status(workspace: Workspace = RUNS) -> None:
    """Show what is done, running, waiting and failed.

    Example: harness status --workspace runs
    """
    from collections import Counter

    from rich.table import Table

    from harness.status import survey

    states = survey(workspace)
    counts = Counter(state.state for state in states)
    console = Console()
    console.print(f"{len(states)} jobs: " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    table = Table("job", "what", "state", "", box=None)
    for state in states:
        if state.state != "done":
            table.add_row(state.id, state.title, state.state, state.detail)
    if table.row_count:
        console.print(table)


@results_app.callback()
def results(
    context: typer.Context,
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
    json: Annotated[bool, typer.Option("--json", help="A JSON list of records.")] = False,
    workspace: Workspace = RUNS,
) -> None:
    """Print every number in long form: one row per method, seed, checkpoint and attack.

    Example: harness results --csv > results.csv
    """
    if context.invoked_subcommand:
        return
    from results.queries import to_csv, to_json

    frame = _annotated(_open(workspace))
    if json:
        typer.echo(to_json(frame))
    elif csv:
        typer.echo(to_csv(frame), nl=False)
    else:
        typer.echo(
            frame[["method", "dataset", "seed", "checkpoint", "attack", "accuracy", "verdict"]].to_string(index=False)
        )


@results_app.command()
def rebuild(workspace: Workspace = RUNS) -> None:
    """Recreate the database from the job directories: merge workspaces by copying their jobs together first.

    Example: cp -r other/jobs/* runs/jobs/ && harness results rebuild
    """
    from results.store import rebuild as recreate

    counts, kept = recreate(workspace / "harness.db", workspace / "jobs")
    typer.echo(
        f"{workspace / 'harness.db'} rebuilt from {workspace / 'jobs'}: {counts.done} done, {counts.failed} failed, "
        f"{counts.unfinished} unfinished" + (f"; the old database is {kept}" if kept else "")
    )
    for message in counts.broken:
        typer.echo(f"skipped: {message}", err=True)


@app.command()
def report(workspace: Workspace = RUNS) -> None:
    """Write tables and plots from the database, and print the tables.

    Example: harness report --workspace runs
    """
    _report(Console(), _open(workspace), workspace)


@app.command()
def evaluate(
    model: Annotated[str, typer.Option(help="FILE.py:FACTORY or robustbench:NAME.")],
    dataset: Dataset = "cifar10",
    weights: Annotated[
        Path | None, typer.Option(help="A state dict: .safetensors, or .pt read with weights_only.")
    ] = None,
    attacks: Attacks = ATTACKS,
    norm: Norm = None,
    eps: Annotated[str | None, typer.Option(help="Radius for images in [0, 1], e.g. 8/255.")] = None,
    test_examples: Annotated[int | None, typer.Option(help="Attack the first N test images only.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images attacked at once.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1; default: a GPU if there is one.")] = None,
    seed: Annotated[int, typer.Option(help="Fixes all randomness.")] = 0,
    plugin: Plugins = None,
    data_root: DataRoot = DATA,
) -> None:
    """Attack a model that was not trained here; nothing is stored.

    Example: harness evaluate --model net.py:make --weights net.safetensors --dataset cifar10 --test-examples 1000
    """
    from harness import session
    from harness.external import evaluate_external
    from reports.evaluation import to_terminal

    place = session.place_of(Path(), dataset, data_root, plugin or [])
    threat, evaluation = evaluate_external(
        place,
        model,
        weights,
        attacks=_names(attacks),
        norm=norm,
        eps=_eps(eps),
        test_examples=test_examples,
        batch_size=batch_size,
        device=device,
        seed=seed,
    )
    Console().print(to_terminal(f"{model} on {dataset}, {threat}", evaluation))


@app.command()
def doctor(workspace: Workspace = RUNS, data_root: DataRoot = DATA) -> None:
    """Check that this machine is ready, and say what to do where it is not.

    Example: harness doctor
    """
    from harness.doctor import examine

    console, failed = Console(), False
    for check in examine(workspace, data_root):
        console.print(f"{check.state:4}  {check.name}: {check.text}", markup=False, highlight=False, soft_wrap=True)
        failed |= check.state == "fail"
    raise typer.Exit(int(failed))


@app.command()
def methods(plugin: Plugins = None) -> None:
    """List the methods with their hyperparameters.

    Example: harness methods
    """
    _list("methods", plugin)


@app.command()
def models(plugin: Plugins = None) -> None:
    """List the models.

    Example: harness models
    """
    _list("models", plugin)


@app.command()
def datasets(plugin: Plugins = None) -> None:
    """List the data sets.

    Example: harness datasets
    """
    _list("datasets", plugin)


@app.command()
def attacks(plugin: Plugins = None) -> None:
    """List the attacks with their parameters.

    Example: harness attacks
    """
    _list("attacks", plugin)


def _eps(text: str | None) -> float | None:
    from harness.threat import parse_eps

    return None if text is None else parse_eps(text)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _list(kind: str, plugins: list[Path] | None) -> None:
    from rich.table import Table

    from harness.listing import entries

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, summary, parameters in entries(kind, plugins or []):
        table.add_row(f"[bold]{name}[/bold]", f"{summary}\n[dim]{parameters}[/dim]" if parameters else summary)
    Console().print(table)


def _open(workspace: Path) -> "Store":
    from results.store import Store

    return Store.open(workspace / "harness.db", create=False)


def _annotated(store: "Store", evaluations: set[str] | None = None) -> "pd.DataFrame":
    from harness.diagnostics import annotate
    from results.queries import long_form

    return annotate(long_form(store, evaluations=evaluations))


def _report(console: Console, store: "Store", workspace: Path, evaluations: set[str] | None = None) -> None:
    from reports.table import comparisons, to_terminal
    from reports.write import write
    from results.queries import history

    frame = _annotated(store, evaluations)
    paths = write(frame, history(store), workspace / "reports")
    for comparison in comparisons(frame):
        console.print(to_terminal(comparison))
    console.print(f"database: {workspace / 'harness.db'}", f"tables and plots: {workspace / 'reports'}", sep="\n")
    console.print(*(f"  {path.name}" for path in paths), sep="\n", highlight=False)
