"""The commands that write results in the files of other tools."""

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.application import DATA, RUNS, DataRoot, Plugins, StorePlace, WorkspacePath, app
from harness.cli.show import open_store
from results.layout import WorkspaceFiles

export_app = typer.Typer(
    no_args_is_help=True,
    help="Write finished trainings for experiment trackers, or a model for Hugging Face's Hub.\n\n"
    "Example: harness export tensorboard boards",
)
app.add_typer(export_app, name="export")
_Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write to; made where it is missing.")]


@export_app.command()
def tensorboard(directory: _Directory, workspace: WorkspacePath = RUNS, store: StorePlace = None) -> None:
    """Write an event file for each training.

    Example: harness export tensorboard boards && tensorboard --logdir boards
    """
    _export("tensorboard", directory, workspace, store)


@export_app.command()
def mlflow(directory: _Directory, workspace: WorkspacePath = RUNS, store: StorePlace = None) -> None:
    """Write a run for each training into an SQLite store.

    Example: harness export mlflow tracked && mlflow ui --backend-store-uri sqlite:///tracked/mlflow.db
    """
    _export("mlflow", directory, workspace, store)


@export_app.command()
def wandb(directory: _Directory, workspace: WorkspacePath = RUNS, store: StorePlace = None) -> None:
    """Write an offline run of Weights & Biases for each training.

    Example: harness export wandb tracked && wandb sync tracked/wandb/offline-run-*
    """
    _export("wandb", directory, workspace, store)


@export_app.command()
def huggingface(
    method: Annotated[str, typer.Argument(help="A method, in quotation marks where the tables add its settings.")],
    directory: _Directory,
    seed: Annotated[int | None, typer.Option(help="Where there are several.")] = None,
    checkpoint: Annotated[str, typer.Option(help="best or last.")] = "best",
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Where there are several.")] = None,
    model: Annotated[str | None, typer.Option(help="Where there are several.")] = None,
    plugin: Plugins = None,
    workspace: WorkspacePath = RUNS,
    store: StorePlace = None,
    data_root: DataRoot = DATA,
) -> None:
    """Write a trained model as Hugging Face's Hub keeps one: config.json, model.safetensors, and a card as README.md.

    Example: harness export huggingface trades published/trades
    """
    from harness.compute.files import save_text
    from harness.library.hub import paper_of, write
    from harness.run.workspace import Workspace
    from reports.export.card import card, one_training
    from results.queries import long_form

    frame = long_form(open_store(WorkspaceFiles(workspace), store))
    rows = one_training(frame, method, checkpoint, dataset=dataset, model=model, seed=seed)
    here = Workspace.at(workspace, rows["dataset"].iloc[0], data_root, plugin or [])
    spec = write(directory, here, rows["train_id"].iloc[0], checkpoint)
    save_text(directory / "README.md", card(rows, paper_of(spec)))
    typer.echo(f"{directory}: config.json, model.safetensors, README.md; verdict {', '.join(rows['verdict'].unique())}")


def _export(tracker: str, directory: Path, workspace: Path, place: str | None) -> None:
    """Write what the tracker does not have yet; trainings are those of models that were trained here."""
    from reports.export.trainings import trainings
    from results.queries import history, long_form

    store = open_store(WorkspaceFiles(workspace), place)
    found = trainings(long_form(store), history(store))
    written = import_module(f"reports.export.{tracker}").export(found, directory)
    typer.echo(f"{len(found)} trainings in {directory}: {written} written, {len(found) - written} as they were")
