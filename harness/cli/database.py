"""The commands that look after the database: ``harness results rebuild``, ``merge`` and ``check``."""

from pathlib import Path

import typer

from harness.cli.application import RUNS, StorePlace, WorkspacePath
from harness.cli.look import results_app
from harness.cli.show import open_store
from results.layout import WorkspaceFiles


@results_app.command()
def rebuild(context: typer.Context, workspace: WorkspacePath = RUNS, store: StorePlace = None) -> None:
    """Recreate the database from the job directories.

    Example: harness results rebuild --workspace runs
    """
    from results.lookups import missing_trainings
    from results.rebuild import rebuild as recreate

    files, place = _chosen(context, workspace, store)
    counts, kept = recreate(place or files.database, files.jobs)
    opened = open_store(files, place)
    typer.echo(
        f"{opened.name} rebuilt from {files.jobs}: {counts.done} done, {counts.failed} failed, "
        f"{counts.unfinished} unfinished" + (f"; the old database is {kept}" if kept else "")
    )
    for message in counts.broken:
        typer.echo(f"skipped: {message}", err=True)
    for train_id, count in missing_trainings(opened).items():
        typer.echo(
            f"{train_id} is not there, but {count} evaluations of it are, and stay in the tables: "
            f"copy {files.job(train_id).directory} there too, or remove them with harness rm {train_id}",
            err=True,
        )


def _chosen(context: typer.Context, workspace: Path, store: str | None) -> tuple[WorkspaceFiles, str | None]:
    """What was said of workspace and database after the command's name, or before it: harness results -w X rebuild."""
    before, place = context.obj
    return WorkspaceFiles(before if workspace == RUNS else workspace), store or place
