"""A run that goes on without this terminal: started, and followed from any."""

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from results.layout import WorkspaceFiles

if TYPE_CHECKING:
    from harness.run.following import Standing

_LOOK_SECONDS, _BEGIN_SECONDS = 1.0, 0.1


def watch(workspace: WorkspaceFiles) -> None:
    """Show how far the runs in the workspace are until none is at work any more, or Ctrl-C."""
    from harness.run.following import Follower
    from harness.run.presence import is_worked_in

    follower = Follower(workspace)
    try:
        with Live(console=Console()) as display:
            while is_worked_in(workspace):
                display.update(_shown(follower.look()))
                time.sleep(_LOOK_SECONDS)
            display.update(_shown(follower.look()))
    except KeyboardInterrupt:
        typer.echo("the run goes on")


def _shown(standing: "Standing") -> RenderableType:
    """One line for all jobs, and one for each that is running or has failed."""
    counts = {"done": standing.done, "running": len(standing.running), "waiting": standing.waiting}
    counts["failed"] = len(standing.failed)
    parts = [f"{count} {name}" for name, count in counts.items() if count]
    table = Table.grid(padding=(0, 2))
    for job in (*standing.running, *standing.failed):
        table.add_row(job.state, job.id, Text(job.title), Text(job.detail))
    return Group(Text(", ".join(filter(None, (*parts, standing.left))) or "no jobs"), table)


def detach(workspace: WorkspaceFiles) -> None:
    """Give the command, as it was typed, to a process of its own; say how to follow it, once its jobs have begun.

    What ends before is shown here, with its exit code: a mistake, or a run that has nothing to do.
    """
    from harness.run.presence import lock_of

    words = [word for word in sys.argv[1:] if word != "--detach"]
    workspace.root.mkdir(parents=True, exist_ok=True)
    with workspace.output.open("ab") as output:
        began = output.tell()
        child = subprocess.Popen(
            [sys.executable, "-m", "harness", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while child.poll() is None and not lock_of(workspace, child.pid).exists():
        time.sleep(_BEGIN_SECONDS)
    if child.returncode is not None:
        with workspace.output.open("rb") as output:
            output.seek(began)
            typer.echo(output.read().decode(errors="replace"), nl=False)
        raise typer.Exit(child.returncode)
    child.returncode = 0  # it is left to itself, and Python is not to warn of it
    typer.echo(f"the run goes on as process {child.pid}; what it prints is in {workspace.output}")
    typer.echo(f"harness status --watch -w {workspace.root}    follows it")
    typer.echo(f"kill -INT {child.pid}    ends it; the same command goes on")
