"""The commands that look after the database: ``harness results rebuild``, ``merge`` and ``check``."""

from pathlib import Path
from typing import Annotated

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


@results_app.command()
def merge(
    context: typer.Context,
    other: Annotated[str, typer.Argument(help="A workspace, a database file, or the URL of a database.")],
    workspace: WorkspacePath = RUNS,
    store: StorePlace = None,
) -> None:
    """Join the finished jobs of another workspace or database; what contradicts ours is named and stays out.

    The same job is one row, and nothing is overwritten. Of a workspace the job directories are copied too.

    Example: harness results merge ../their-lab/runs
    """
    from results.merge import merge as join

    files, place = _chosen(context, workspace, store)
    opened = open_store(files, place, create=True)
    merged = join(other, opened, files)
    typer.echo(
        f"{len(merged.joined)} jobs of {other} joined {opened.name}, {merged.same} are the same here and there, "
        f"{len(merged.conflicts)} stay out"
    )
    for message in (*merged.conflicts, *(f"skipped: {message}" for message in merged.broken)):
        typer.echo(message, err=True)
    raise typer.Exit(int(bool(merged.conflicts or merged.broken)))


@results_app.command()
def check(context: typer.Context, workspace: WorkspacePath = RUNS, store: StorePlace = None) -> None:
    """Compare the database, the job directories and their checksums; exit code 1 if anything is wrong.

    Each problem comes with what to do. Every file is read, the weights too.

    Example: harness results check --workspace runs
    """
    from results.check import problems

    files, place = _chosen(context, workspace, store)
    opened = open_store(files, place)
    found = list(problems(opened, files))
    for problem in found:
        typer.echo(f"{problem.what}: {problem.remedy}")
    typer.echo(f"{opened.name} and {files.jobs}: {len(found) or 'no'} problem{'s' * (len(found) != 1)}")
    raise typer.Exit(int(bool(found)))


def _chosen(context: typer.Context, workspace: Path, store: str | None) -> tuple[WorkspaceFiles, str | None]:
    """What was said of workspace and database after the command's name, or before it: harness results -w X rebuild."""
    before, place = context.obj
    return WorkspaceFiles(before if workspace == RUNS else workspace), store or place
