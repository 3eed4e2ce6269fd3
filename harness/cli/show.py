"""What several commands print: the tables of a workspace, and one evaluated model."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from results.layout import WorkspaceFiles

if TYPE_CHECKING:
    from pandas import DataFrame

    from harness.library.evaluate import Evaluation
    from reports.choice import Choice, Chosen
    from reports.figures import Drawn
    from results.store import Store

_COLOURS = {"trusted": "green", "suspect": "yellow", "masked": "red"}


def open_store(workspace: WorkspaceFiles, place: str | None, *, create: bool = False) -> "Store":
    """The database at ``place``, or the workspace's own; it must exist unless it may be made."""
    from results.store import Store

    return Store.open(place or workspace.database, create=create)


def show_report(
    console: Console,
    store: "Store",
    workspace: WorkspaceFiles,
    evaluations: Collection[str] | None = None,
    written: Sequence[Path] | None = None,
    choice: "Choice | None" = None,
) -> Sequence[Path]:
    """Write the chosen tables of these evaluations (None: of all), in full style figures too, and print the tables.

    ``written`` are their files where they are known to be up to date: then nothing is written. Returns the files.
    """
    from reports.choice import Choice, choose, grids
    from reports.forms import to_terminal
    from results.queries import history, long_form

    frame = long_form(store, evaluations=evaluations, with_verdicts=True)
    if frame.empty:
        _show_nothing(console, workspace, history(store)["train_id"].nunique())
        return []
    choice = choice or Choice()
    chosen = choose(frame, choice)
    epochs = _epochs(store, chosen, choice) if written is None else None
    for table in (tables := grids(chosen, epochs, choice)):
        console.print(to_terminal(table))
    if written is None:
        from reports.write import write

        pictures = _draw(chosen, epochs, choice, store, workspace) if choice.pictured and epochs is not None else None
        if pictures and evaluations is None:
            _show_missing(console, pictures)
        written = write(tables, pictures.files if pictures else {}, workspace.reports)
    console.print(f"database: {store.name}", f"tables and plots: {workspace.reports}", sep="\n")
    console.print(*(f"  {path.name}" for path in written), sep="\n", highlight=False)
    return written


def _epochs(store: "Store", chosen: "Chosen", choice: "Choice") -> "DataFrame | None":
    """The epochs that are shown: of all trainings as costs of a paper, of the best in figures; None where none are."""
    from results.queries import history

    if choice.style == "paper" and choice.claims is None:
        return history(store)
    if not choice.pictured:
        return None
    from reports.figures import drawn, trainings_of

    return history(store, train_id=trainings_of(drawn(chosen.shown, choice.figures)))


def _draw(
    chosen: "Chosen", history: "DataFrame", choice: "Choice", store: "Store", workspace: WorkspaceFiles
) -> "Drawn":
    from reports.figures import Source, draw
    from reports.published import read_published
    from results.lookups import stored_features

    claims = read_published() if choice.claims is None else choice.claims
    features = stored_features(store)
    return draw(Source(chosen.frame, history, chosen.shown, claims, features, workspace.jobs), choice.figures)


def _show_missing(console: Console, drawn: "Drawn") -> None:
    """The figures that there are not, and why."""
    lines = [f"no figure {name}: it needs {needs}" for name, needs in drawn.lacking.items()]
    if drawn.left_out:
        names = "; ".join(drawn.left_out[:3]) + "; ..." * (len(drawn.left_out) > 3)
        lines.append(
            f"no figures of {len(drawn.left_out)} more settings ({names}): name some with --figures, or --dataset"
        )
    if lines:
        console.print(*lines, sep="\n", markup=False, highlight=False, soft_wrap=True)


def _show_nothing(console: Console, workspace: WorkspaceFiles, trainings: int) -> None:
    """What to do where no evaluation has finished."""
    console.print(
        f"There is nothing to report yet: in {workspace.root} {trainings} trainings have finished, and no evaluation.",
        "`harness status` shows what is done, running, waiting and failed;",
        "`harness run` with what it was started with goes on, `harness run --methods all` starts.",
        sep="\n",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def accuracies(evaluation: "Evaluation") -> dict[str, dict[str, float]]:
    """For each attack ``accuracy``, its 95 % Wilson interval ``ci_low`` to ``ci_high`` (fractions), ``examples``."""
    from results.statistics import wilson

    found = {}
    for name, verdicts in evaluation.verdicts.items():
        correct, examples = int(verdicts.sum()), len(verdicts)
        low, high = wilson(correct, examples)
        found[name] = {"accuracy": correct / examples, "ci_low": low, "ci_high": high, "examples": examples}
    return found


def show_evaluation(console: Console, title: str, evaluation: "Evaluation") -> None:
    """Accuracy under each attack in percent with 95 % Wilson intervals, the verdict, and every finding.

    A number that rests on a sample is followed by what the whole attack would leave: ``48.70 [48.30, 48.70]``.
    """
    from rich.table import Table
    from rich.text import Text

    console.print(title, markup=False, highlight=False, soft_wrap=True)
    table = Table("attack", "accuracy", "95 %", box=None)
    for name, measured in accuracies(evaluation).items():
        accuracy = f"{100 * measured['accuracy']:.2f}"
        if name in evaluation.at_least:
            accuracy += f" [{100 * evaluation.at_least[name]:.2f}, {accuracy}]"
        table.add_row(name, Text(accuracy), f"{100 * measured['ci_low']:.2f} to {100 * measured['ci_high']:.2f}")
    console.print(table)
    console.print(
        Text.assemble(f"{measured['examples']} examples; verdict: ", (evaluation.verdict, _COLOURS[evaluation.verdict]))
    )
    for finding in evaluation.findings:
        console.print(Text(f"  {finding.code}: {finding.message} ({finding.evidence}). {finding.advice}"))
