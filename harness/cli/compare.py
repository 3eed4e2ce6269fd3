"""The command that compares two methods."""

from typing import Annotated

import typer

from harness.cli.application import RUNS, StorePlace, WorkspacePath, app
from harness.cli.show import open_store
from results.layout import WorkspaceFiles
from results.names import WORST_CASE

_Method = Annotated[str, typer.Argument(help="A method, in quotation marks where the tables add its settings.")]


@app.command()
def compare(
    first: _Method,
    second: _Method,
    attack: Annotated[str, typer.Option(help="An attack that both were evaluated under.")] = WORST_CASE,
    checkpoint: Annotated[str, typer.Option(help="best or last.")] = "best",
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Where there are several.")] = None,
    model: Annotated[str | None, typer.Option(help="Where there are several.")] = None,
    threat: Annotated[str | None, typer.Option(help="Where there are several, e.g. 'Linf 8/255'.")] = None,
    workspace: WorkspacePath = RUNS,
    store: StorePlace = None,
) -> None:
    """Say which of two methods is more accurate on the same examples, by how much, and how sure that is.

    Example: harness compare trades pgd-at --attack worst-case
    """
    from reports.versus import versus
    from results.queries import long_form

    frame = long_form(open_store(WorkspaceFiles(workspace), store), with_verdicts=True)
    choices = {"dataset": dataset, "model": model, "threat": threat}
    typer.echo(versus(frame, first, second, attack=attack, checkpoint=checkpoint, **choices))
