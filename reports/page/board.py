"""From a workspace to the rows of its leaderboard."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from reports.choice import Choice, choose
from reports.page.entries import Entry, Sources, measured, published
from results.layout import WorkspaceFiles
from results.lookups import papers
from results.queries import history, long_form
from results.store import Store


class Board(NamedTuple):
    """The rows, and lines that say what is missing and what to do."""

    entries: Sequence[Entry]
    notice: Sequence[str]


def board(store: Store, workspace: WorkspaceFiles, choice: Choice) -> Board:
    """What was measured, as far as it was chosen, then the choice's published figures.

    Raises:
        HarnessError: if there are results, but none of the choice.
    """
    frame, epochs = long_form(store, with_verdicts=True, with_findings=True), history(store)
    claimed = list(published(choice.claims or ()))
    if frame.empty:
        trainings = epochs["train_id"].nunique()
        return Board(
            claimed,
            (
                f"Nothing has been measured yet: {trainings} trainings have finished, and no evaluation.",
                "harness status shows what is done, running, waiting and failed; harness run with what it was started "
                "with goes on, harness run --methods all starts.",
            ),
        )
    chosen = choose(frame, replace(choice, claims=None))  # with claims it would be one checkpoint
    sources = Sources(chosen.frame, epochs, papers(store), workspace, chosen.names)
    return Board([*measured(chosen.shown, sources), *claimed], ())
