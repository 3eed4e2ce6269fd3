"""The commands that look at what there is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from harness.api.errors import HarnessError
from harness.cli.application import DATA, RUNS, DataRoot, Plugins, StorePlace, WorkspacePath, app, names
from harness.cli.serve import serve, write_page
from harness.cli.show import open_store, show_report
from harness.cli.watch import watch
from harness.compute.files import write_atomically
from results.layout import WorkspaceFiles

results_app = typer.Typer(invoke_without_command=True)
app.add_typer(results_app, name="results")


@app.command()
def status(
    watched: Annotated[bool, typer.Option("--watch", help="Show it anew all the time until nothing runs.")] = False,
    workspace: WorkspacePath = RUNS,
) -> None:
    """Show what is done, running, waiting and failed.

    Example: harness status --watch --workspace runs
    """
    from collections import Counter

    from harness.run.status import survey

    if watched:
        watch(WorkspaceFiles(workspace))
        return
    states, files = survey(workspace), WorkspaceFiles(workspace)
    counts = Counter(state.state for state in states)
    typer.echo(f"{len(states)} jobs: " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    for state in states:
        if state.state == "running":
            typer.echo(f"{state.state}  {state.id}  {state.title}  {state.detail}")
        elif state.state in ("failed", "cancelled", "damaged"):
            log = files.job(state.id).log
            typer.echo(f"{state.state}  {state.id}  {state.title}\n        {state.detail}\n        {log}")


@results_app.callback()
def results(
    context: typer.Context,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", "--where", help="COLUMN=VALUE, or several values: method=trades,mart; repeatable."),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
    json: Annotated[bool, typer.Option("--json", help="A JSON list of records.")] = False,
    parquet: Annotated[Path | None, typer.Option(help="Write a Parquet file in place of printing.")] = None,
    workspace: WorkspacePath = RUNS,
    store: StorePlace = None,
) -> None:
    """Print every number in long form: one row per method, seed, checkpoint and attack.

    Example: harness results --where verdict=trusted --where attack=worst-case --csv > results.csv
    """
    if context.invoked_subcommand:
        context.obj = workspace, store
        return
    from reports.methods import labelled
    from results.queries import long_form
    from results.text import to_csv, to_json, to_parquet

    frame = long_form(open_store(WorkspaceFiles(workspace), store), **_wanted(only or []))
    if parquet:
        content = to_parquet(frame)
        write_atomically(parquet, lambda part: part.write_bytes(content))
        typer.echo(f"{len(frame)} rows in {parquet}")
    elif json:
        typer.echo(to_json(frame))
    elif csv:
        typer.echo(to_csv(frame), nl=False)
    else:
        shown = labelled(frame)[["label", "dataset", "threat", "seed", "checkpoint", "attack", "accuracy", "verdict"]]
        typer.echo(shown.rename(columns={"label": "method"}).to_string(index=False))


def _wanted(texts: Sequence[str]) -> dict[str, Any]:
    """The values that are wanted of each column."""
    found: dict[str, Any] = {}
    for text in texts:
        column, equals, values = text.partition("=")
        if not equals:
            raise HarnessError(f"--only or --where takes COLUMN=VALUE, for example method=trades, got {text!r}")
        found[column] = [int(value) if column in ("seed", "examples") else value for value in names(values)]
    return found


@app.command()
def report(
    style: Annotated[
        Literal["full", "compact", "paper"],
        typer.Option(help="All there is; one line a method; or a paper's tables: accuracy, ablation, best/last, cost."),
    ] = "full",
    methods: Annotated[str, typer.Option(help="Comma-separated, in this order; NAME=SHOWN calls one SHOWN.")] = "",
    columns: Annotated[str, typer.Option(help="Comma-separated, in this order, e.g. natural,autoattack.")] = "",
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="Comma-separated.")] = "",
    checkpoint: Annotated[str | None, typer.Option(help="best or last; default: both, in a paper best.")] = None,
    claims: Annotated[bool, typer.Option("--claims", help="What others have published, beside ours.")] = False,
    published: Annotated[Path | None, typer.Option(help="A CSV file with more published figures.")] = None,
    caption: Annotated[str, typer.Option(help="Another title of the table.")] = "",
    figures: Annotated[
        str, typer.Option(help="Only these, of every setting, e.g. waterfall,cost (docs/figures.md).")
    ] = "",
    no_notes: Annotated[bool, typer.Option("--no-notes", help="Leave out the notes under the tables.")] = False,
    page: Annotated[bool, typer.Option("--page", help="Write the leaderboard alone, as one HTML file.")] = False,
    served: Annotated[bool, typer.Option("--serve", help="Show it on this machine and follow the run.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="With --serve; 0: any that is free.")] = 8642,
    workspace: WorkspacePath = RUNS,
    store: StorePlace = None,
    data_root: DataRoot = DATA,
) -> None:
    """Write tables (Markdown, CSV, LaTeX, HTML) and plots from the database, and print the tables.

    Example: harness report --style paper --methods pgd-at,trades,my-at="Ours" --columns natural,autoattack,worst-case
    """
    from reports.choice import Choice
    from reports.published import read_published

    choice = Choice(
        style=style,
        methods=names(methods),
        columns=names(columns),
        datasets=names(dataset),
        checkpoint=checkpoint,
        claims=read_published(published) if claims or published or page or served else None,
        notes=not no_notes,
        caption=caption,
        figures=names(figures),
    )
    files = WorkspaceFiles(workspace)
    opened = open_store(files, store)
    if served:
        serve(opened, files, choice, port, data_root)
    elif page:
        write_page(opened, files, choice)
    else:
        show_report(Console(), opened, files, choice=choice)


@app.command()
def doctor(workspace: WorkspacePath = RUNS, data_root: DataRoot = DATA) -> None:
    """Check that this machine is ready, and say what to do where it is not.

    Example: harness doctor
    """
    from harness.library.doctor import examine

    console, failed = Console(), False
    for seen in examine(workspace, data_root):
        console.print(f"{seen.state:4}  {seen.name}: {seen.text}", markup=False, highlight=False, soft_wrap=True)
        failed |= seen.state == "fail"
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


def _list(kind: str, plugins: list[Path] | None) -> None:
    from rich.table import Table

    from harness.cli.listing import entries

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, summary, parameters in entries(kind, plugins or []):
        table.add_row(f"[bold]{name}[/bold]", f"{summary}\n[dim]{parameters}[/dim]" if parameters else summary)
    Console().print(table)
