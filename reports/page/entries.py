"""The rows of the leaderboard: methods that were measured here, and what others have published of theirs."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from reports.page.command import Place, command
from reports.published import Claim
from reports.table.comparison import OVERESTIMATION, Cell, Comparison, Row
from reports.table.layout import Names
from results.layout import WorkspaceFiles
from results.names import WORST_CASE, ordered_attacks
from results.queries import DIAGNOSED, worst_first

if TYPE_CHECKING:
    from pandas import DataFrame

Record = Mapping[Any, Any]
UNDIAGNOSED = "not diagnosed"


class Score(NamedTuple):
    """One accuracy; all but the last three are fractions, and None is what is not known.

    ``low`` to ``high`` is its 95 % interval, ``std`` the standard deviation over seeds, ``at_least`` what the whole
    attack would leave. ``inflated``: masking deceives this attack. ``note`` is what a source says of it.
    """

    attack: str
    accuracy: float
    low: float | None = None
    high: float | None = None
    std: float | None = None
    at_least: float | None = None
    examples: int | None = None
    inflated: bool = False
    note: str = ""


class Finding(NamedTuple):
    """One reason to doubt a training, named by its seed where there are several."""

    seed: str
    code: str
    severity: str
    message: str
    evidence: str
    advice: str


@dataclass(frozen=True)
class Entry:
    """One row. What was ``measured`` here and what was published are of two kinds: no number of one is in the other.

    ``verdict`` is None for what nobody here could judge. ``gap`` is AutoAttack less the worst case, a fraction.
    ``trainings`` are the seeds' ids, ``settings`` texts like ``beta = 6.0``; ``paper`` has ``title``,
    ``url`` and ``bibtex`` where they are known, ``source`` is where a published row stands.
    """

    measured: bool
    method: str
    dataset: str
    model: str
    threat: str
    scores: Sequence[Score]
    checkpoint: str = ""
    seeds: Sequence[int] = ()
    verdict: str | None = None
    why: str = ""
    rank: int | None = None
    gap: float | None = None
    findings: Sequence[Finding] = ()
    settings: Sequence[str] = ()
    command: str = ""
    trained: str = ""
    paper: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    trainings: Sequence[str] = ()

    def score(self, attack: str) -> Score | None:
        """What there is under an attack."""
        return next((each for each in self.scores if each.attack == attack), None)


@dataclass(frozen=True)
class Sources:
    """What rows are made of: the long form with findings, the epochs of the trainings, and where methods come from.

    The workspace knows the commands that asked for the trainings; ``names`` are other names of methods.
    """

    frame: "DataFrame"
    history: "DataFrame"
    papers: Mapping[str, Mapping[str, str]]
    workspace: WorkspaceFiles
    names: Names


def measured(tables: Iterable[Comparison], sources: Sources) -> Iterator[Entry]:
    """One row for each method of each table; the tables are made of the sources' long form."""
    stored: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in sources.frame.to_dict("records"):
        stored[record["train_id"], record["checkpoint"], record["threat"]].append(record)
    trained = _trained(sources.history)
    for table in tables:
        for row in table.rows:
            own = [stored[train_id, table.checkpoint, table.threat] for train_id in row.trainings]
            told = dict.fromkeys(trained[each] for each in row.trainings if each in trained)
            yield replace(_entry(table, row, own, sources), trained="; ".join(told))


def _entry(table: Comparison, row: Row, own: Sequence[Sequence[Record]], sources: Sources) -> Entry:
    """One method; ``own`` are the records of each of its trainings."""
    settings = json.loads(own[0][0]["params"])
    attacks, examples = ordered_attacks(row.cells), min(cell.examples for cell in row.cells.values())
    place = Place(row.name, table.dataset, table.model, table.threat, row.seeds, attacks, examples)
    evaluations = [record["evaluate_id"] for records in own for record in records if record["attack"] != WORST_CASE]
    return Entry(
        measured=True,
        method=sources.names.get(row.name, row.name) + row.method.removeprefix(row.name),
        dataset=table.dataset,
        model=table.model,
        threat=table.threat,
        checkpoint=table.checkpoint,
        seeds=row.seeds,
        verdict=row.verdict or None,
        why=row.why,
        rank=row.rank,
        gap=row.differences.get(OVERESTIMATION),
        scores=[_score(attack, row.cells[attack]) for attack in attacks],
        findings=list(_findings([records[0] for records in own])),
        settings=[f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()],
        command=command(sources.workspace, row.trainings, evaluations, place, settings),
        paper=sources.papers.get(row.name, {}),
        trainings=row.trainings,
    )


def published(claims: Sequence[Claim]) -> Iterator[Entry]:
    """One row for each method, setting and source, with all figures that it gives."""

    def place(claim: Claim) -> tuple[str, ...]:
        return claim.method, claim.dataset, claim.model, claim.threat, claim.source

    for (method, dataset, model, threat, source), own in groupby(sorted(claims, key=place), key=place):
        figures = {claim.attack: claim for claim in own}
        scores = [
            Score(attack, figures[attack].accuracy, note=figures[attack].note) for attack in ordered_attacks(figures)
        ]
        yield Entry(False, method, dataset, model, threat, scores, source=source)


def _score(attack: str, cell: Cell) -> Score:
    return Score(attack, cell.accuracy, cell.low, cell.high, cell.std, cell.at_least, cell.examples, cell.inflated)


def _findings(rows: Sequence[Record]) -> Iterator[Finding]:
    """Those of every seed, and where one was not diagnosed that."""
    for row in rows:
        seed = str(row["seed"]) if len(rows) > 1 else ""
        if row.get(DIAGNOSED) is None:
            yield Finding(seed, UNDIAGNOSED, row["verdict"], row["why"], "", "")
            continue
        for each in worst_first(row[DIAGNOSED], row["verdict"]):
            yield Finding(seed, *(each[name] for name in Finding._fields[1:]))


def _trained(history: "DataFrame") -> dict[str, str]:
    """What each training took, in words, by its id."""
    found = {}
    for train_id, own in history.groupby("train_id", sort=False):
        first, seconds = own.iloc[0], own["seconds"].sum()
        best = "" if first["best_epoch"] != first["best_epoch"] else f", best {first['best_epoch']:.0f}"
        found[str(train_id)] = f"{len(own)} epochs{best}, {seconds / 3600:.2f} h on {first['device']}"
    return found
