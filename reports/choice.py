"""What a report shows of the results, as its reader chooses."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from reports.claims import claims
from reports.cost import cost
from reports.grid import Grid
from reports.methods import display_names
from reports.overfitting import overfitting
from reports.paper import ablation, accuracy
from reports.published import Claim
from reports.table.build import check, comparisons
from reports.table.comparison import Comparison
from reports.table.layout import Names, columns_of, compact, full
from results.errors import HarnessError, UnknownName

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Choice:
    """Everything that there is, unless something is named.

    ``methods`` and ``columns`` are shown in their order; a method is called ``SHOWN`` where it is given as
    ``NAME=SHOWN``. Without a ``checkpoint`` the styles ``full`` and ``compact`` show all, and ``paper`` the best.
    With ``claims`` these published figures are shown beside ours, whatever the style; at the best checkpoint too.
    ``notes`` are those under the tables; reasons not to trust a method always stay. ``caption`` is another title.
    ``figures`` are named ones of :data:`reports.figures.FIGURES`.
    """

    style: Literal["full", "compact", "paper"] = "full"
    methods: Sequence[str] = ()
    datasets: Sequence[str] = ()
    columns: Sequence[str] = ()
    checkpoint: str | None = None
    claims: Sequence[Claim] | None = None
    notes: bool = True
    caption: str = ""
    figures: Sequence[str] = ()

    @property
    def pictured(self) -> bool:
        """Whether figures belong to it."""
        return bool(self.figures) or (self.style == "full" and self.claims is None)


@dataclass(frozen=True)
class Chosen:
    """The chosen results: rows of the frame, their tables at every checkpoint and at the chosen ones, other names."""

    frame: "DataFrame"
    tables: Sequence[Comparison]
    shown: Sequence[Comparison]
    names: Names


def choose(frame: "DataFrame", choice: Choice) -> Chosen:
    """The part of the long-form results that was chosen.

    Raises:
        HarnessError: if the frame is empty or not the long form, or holds nothing of the choice.
    """
    check(frame)
    methods = dict(_name(text, frame["method"].unique()) for text in choice.methods)
    for value in choice.datasets:
        _must_be_there("data set", value, frame["dataset"].unique())
    if choice.checkpoint:
        _must_be_there("checkpoint", choice.checkpoint, frame["checkpoint"].unique())
    of_methods = frame["method"].isin(methods or frame["method"])
    own = frame[of_methods & frame["dataset"].isin(choice.datasets or frame["dataset"])]
    tables = [_in_order(table, list(methods)) for table in comparisons(own)] if len(own) else []
    shown = [table for table in tables if table.checkpoint == (choice.checkpoint or table.checkpoint)]
    if not choice.checkpoint and (choice.style == "paper" or choice.claims is not None):
        shown = [table for table in shown if table.checkpoint == "best"] or shown
    if not shown:
        raise HarnessError(
            "there are results, but none of all that was chosen together: leave out a part of the choice"
        )
    for value in choice.columns:
        _must_be_there("column", value, columns_of(shown))
    claimed = [claim.method for claim in choice.claims or ()]
    names = display_names([*frame["method"], *claimed]) if choice.style != "full" or claimed else {}
    return Chosen(own, tables, shown, names | {name: other for name, other in methods.items() if other})


def grids(chosen: Chosen, history: "DataFrame | None", choice: Choice) -> list[Grid]:
    """The tables of the choice; those of a paper for which there are no results are left out.

    ``history`` has the epochs of the trainings, for the costs in a paper.

    Raises:
        HarnessError: if several tables would have the one caption, or no claim is of what was measured.
    """
    if choice.claims is not None:
        own = [claim for claim in choice.claims if not choice.methods or claim.method in set(chosen.frame["method"])]
        found = [claims(chosen.shown, own, chosen.names)]
    elif choice.style == "paper":
        found = _paper(chosen, history, choice)
    else:
        layout = full if choice.style == "full" else compact
        found = [layout(table, choice.columns, chosen.names) for table in chosen.shown]
    if choice.caption:
        if len(found) > 1 and choice.style != "paper":
            raise HarnessError(
                f"a caption is for one table, the choice has {len(found)}: choose one with --dataset and --checkpoint"
            )
        found[0] = replace(found[0], title=choice.caption)
    return found if choice.notes else [replace(grid, notes=()) for grid in found]


def _paper(chosen: Chosen, history: "DataFrame | None", choice: Choice) -> list[Grid]:
    found = [
        accuracy(chosen.shown, choice.columns, chosen.names),
        ablation(chosen.shown, choice.columns, chosen.names),
        overfitting(chosen.tables, choice.columns, chosen.names),
        None if history is None else cost(chosen.shown, chosen.frame, history, chosen.names),
    ]
    return [grid for grid in found if grid]


def _name(text: str, known: Iterable[str]) -> tuple[str, str]:
    """A method and what it is called, from ``NAME`` or ``NAME=SHOWN``; a name may have an equals sign of its own."""
    name, _, other = (text, "", "") if text in known else text.partition("=")
    _must_be_there("method", name, known)
    return name, other.strip()


def _must_be_there(kind: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise UnknownName(kind, name, known)


def _in_order(table: Comparison, methods: Sequence[str]) -> Comparison:
    if not methods:
        return table
    return replace(table, rows=tuple(sorted(table.rows, key=lambda row: methods.index(row.name))))
