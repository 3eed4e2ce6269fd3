"""The commands for single jobs."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from harness.api.errors import HarnessError
from harness.cli.application import RUNS, StorePlace, WorkspacePath, app
from harness.cli.show import open_store
from harness.compute.files import save_text
from results.layout import WorkspaceFiles

_LOG_LINES = 20
_Job = Annotated[str, typer.Argument(metavar="ID", help="The job's id, or its beginning.")]


@app.command()
def show(job: _Job, workspace: WorkspacePath = RUNS) -> None:
    """Show one job: its state, the command that asked for it, its settings, and the end of its log.

    Example: harness show train-1b0e50
    """
    from harness.run.status import find_id, state_of

    files = WorkspaceFiles(workspace).job(find_id(workspace, job))
    if not files.spec.exists():
        raise HarnessError(f"{files.id} is not there, only what was done with its model: copy {files.directory} there")
    state = state_of(files)
    typer.echo(f"{state.id}: {state.title}\n{state.state}{': ' * bool(state.detail)}{state.detail}")
    for title, path in (("asked for by", files.command), ("spec", files.spec), ("result", files.result)):
        if path.exists():
            typer.echo(f"\n{title} ({path}):\n{_text(path).strip()}")
    if files.log.exists():
        lines = _text(files.log).splitlines()[-_LOG_LINES:]
        typer.echo("\n".join((f"\nend of the log ({files.log}):", *lines)))


@app.command()
def retry(workspace: WorkspacePath = RUNS) -> None:
    """Give the commands again that asked for jobs which failed, were cancelled or cut off; what is done stays done.

    Example: harness retry --workspace runs
    """
    from harness.run.status import every_job

    open_jobs = [files for files in every_job(workspace) if not files.result.exists()]
    commands = dict.fromkeys(_text(files.command) for files in open_jobs if files.command.is_file())
    if not commands:
        typer.echo("nothing to try again" if not open_jobs else f"no command is known for {open_jobs[0].id}")
        return
    codes = [_again(command) for command in commands]
    raise typer.Exit(max(codes))


def _text(path: Path) -> str:
    """What is in a job's file, as far as it is text."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else f"({path.name} is no file)"


def _again(command: str) -> int:
    """Run a kept command in this process: its exit code."""
    import contextlib
    import shlex

    typer.echo(command.strip())
    try:
        place, words = (shlex.split(line)[1:] for line in command.splitlines())
    except ValueError:
        raise HarnessError(f"this is no command that `harness run` kept: {command.strip()!r}") from None
    with contextlib.chdir(place[0]):
        return int(app(words, standalone_mode=False) or 0)


@app.command()
def rm(
    job: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids, or their beginnings.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    workspace: WorkspacePath = RUNS,
    store: StorePlace = None,
) -> None:
    """Remove jobs, with all that rests on them, from the workspace and its database.

    A training takes its evaluations and diagnoses along, an evaluation the diagnoses that judged it.

    Example: harness rm train-1b0e50
    """
    from harness.run.status import find_id, state_of, with_dependents

    chosen = with_dependents(workspace, [find_id(workspace, each) for each in job])
    for each in chosen:
        state = state_of(each)
        if state.state == "running":
            raise HarnessError(f"{state.id} ({state.title}) is running: stop that run first")
        typer.echo(f"{state.id}  {state.title}  {state.state}")
    if not yes:
        typer.confirm(f"remove these {len(chosen)} jobs?", abort=True)
    open_store(WorkspaceFiles(workspace), store).remove([each.id for each in chosen])
    for each in chosen:
        shutil.rmtree(each.directory)
    typer.echo(f"removed {len(chosen)} jobs from {workspace}")


@app.command()
def cancel(
    job: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids, or their beginnings.")],
    workspace: WorkspacePath = RUNS,
) -> None:
    """End jobs of a run that goes on in another process, which does the others; harness retry does them again.

    What rests on a cancelled job cannot start. Ctrl-C in the run itself ends all of it.

    Example: harness cancel train-1b0e50
    """
    from harness.run.following import Follower
    from harness.run.presence import is_worked_in
    from harness.run.status import find_id, state_of

    files = WorkspaceFiles(workspace)
    if not is_worked_in(files):
        raise HarnessError(f"no run is at work in {workspace}: there is nothing to cancel")
    chosen = [find_id(workspace, each, Follower(files).planned.keys()) for each in job]
    for each in chosen:
        if files.job(each).result.exists():
            raise HarnessError(f"{each} is done: harness rm {each} removes it")
    for each in chosen:
        save_text(files.cancellation(each), "")
        running = state_of(files.job(each)).state == "running"
        typer.echo(f"{each} will end {'at its next step' if running else 'when its turn comes'}")


@app.command()
def clean(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    workspace: WorkspacePath = RUNS,
) -> None:
    """Remove what no result needs: files that were damaged or cut off, old databases, what finished jobs resumed from.

    Example: harness clean --workspace runs
    """
    from harness.run.leftovers import leftovers, size

    if not workspace.is_dir():
        raise HarnessError(f"there is no workspace {workspace}")
    found = {path: size(path) for path in leftovers(WorkspaceFiles(workspace))}
    for path, count in found.items():
        typer.echo(f"{count / 2**20:9.1f} MiB  {path}")
    if not found:
        typer.echo(f"{workspace} holds nothing that could go")
        return
    if not yes:
        typer.confirm(f"remove these {len(found)} files and folders?", abort=True)
    for path in found:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    typer.echo(f"removed {len(found)} files and folders, {sum(found.values()) / 2**20:.1f} MiB")
