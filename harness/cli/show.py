"""What several commands print: the tables of a workspace, and one evaluated model."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from results.layout import WorkspaceFiles

if TYPE_CHECKING:
    from harness.library.evaluate import Evaluation
    from results.store import Store

_COLOURS = {"trusted": "green", "suspect": "yellow", "masked": "red"}


def open_store(workspace: WorkspaceFiles) -> "Store":
    """The workspace's database, which must exist."""
    from results.store import Store

    return Store.open(workspace.database, create=False)


def show_report(
    console: Console,
    store: "Store",
    workspace: WorkspaceFiles,
    evaluations: Collection[str] | None = None,
    written: Sequence[Path] | None = None,
) -> Sequence[Path]:
    """Write the tables and plots of these evaluations (None: of all), print the tables and where everything lies.

    ``written`` are their files where they are known to be up to date: then nothing is written. Returns the files.
    """
    from reports.table import comparisons, to_terminal
    from results.queries import history, long_form

    frame = long_form(store, evaluations=evaluations, with_verdicts=True)
    if written is None:
        from reports.write import write

        written = write(frame, history(store), workspace.reports)
    for comparison in comparisons(frame):
        console.print(to_terminal(comparison))
    console.print(f"database: {workspace.database}", f"tables and plots: {workspace.reports}", sep="\n")
    console.print(*(f"  {path.name}" for path in written), sep="\n", highlight=False)
    return written


def show_evaluation(console: Console, title: str, evaluation: "Evaluation") -> None:
    """Accuracy under each attack in percent with 95 % Wilson intervals, the verdict, and every finding."""
    from rich.table import Table
    from rich.text import Text

    from results.statistics import wilson

    console.print(title, markup=False, highlight=False, soft_wrap=True)
    table = Table("attack", "accuracy", "95 %", box=None)
    for name, verdicts in evaluation.verdicts.items():
        correct, examples = int(verdicts.sum()), len(verdicts)
        low, high = wilson(correct, examples)
        table.add_row(name, f"{100 * correct / examples:.2f}", f"{100 * low:.2f} to {100 * high:.2f}")
    console.print(table)
    console.print(Text.assemble(f"{examples} examples; verdict: ", (evaluation.verdict, _COLOURS[evaluation.verdict])))
    for finding in evaluation.findings:
        console.print(Text(f"  {finding.code}: {finding.message} ({finding.evidence}). {finding.advice}"))
