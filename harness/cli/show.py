"""What several commands print: the tables of a workspace."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from results.store import Store


def open_store(workspace: Path) -> "Store":
    """The workspace's database, which must exist."""
    from results.store import Store

    return Store.open(workspace / "harness.db", create=False)


def show_report(console: Console, store: "Store", workspace: Path, evaluations: set[str] | None = None) -> None:
    """Write the tables and plots of these evaluations (None: of all), print the tables and where everything lies."""
    from reports.table import comparisons, to_terminal
    from reports.write import write
    from results.queries import history, long_form

    frame = long_form(store, evaluations=evaluations, with_verdicts=True)
    paths = write(frame, history(store), workspace / "reports")
    for comparison in comparisons(frame):
        console.print(to_terminal(comparison))
    console.print(f"database: {workspace / 'harness.db'}", f"tables and plots: {workspace / 'reports'}", sep="\n")
    console.print(*(f"  {path.name}" for path in paths), sep="\n", highlight=False)
