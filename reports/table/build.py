"""From the long form of the results to comparison tables."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from reports.methods import SETTING, labels
from reports.table.comparison import OVERESTIMATION, OVERFITTING, Cell, Comparison, Row, percent
from results.compare import ranks
from results.errors import HarnessError
from results.labels import trained_at
from results.names import CHECKPOINTS, NATURAL, WORST_CASE, ordered_attacks
from results.statistics import t_interval

if TYPE_CHECKING:
    from pandas import DataFrame

Record = Mapping[Any, Any]
Scores = dict[str, Record]  # of one training at one checkpoint, by attack

_TRAINING = ("method", "seed", "protocol", "params", "train_id")
COLUMNS = (*SETTING, *_TRAINING, "checkpoint", "attack", "accuracy", "ci_low", "ci_high", "examples")
_SEVERITIES = ("", "trusted", "suspect", "masked")


def comparison(frame: "DataFrame", *, checkpoint: str = "best") -> Comparison:
    """The table of one data set, model and threat at one checkpoint; see :func:`comparisons`.

    Raises:
        HarnessError: if the frame is empty, holds several settings, or lacks the checkpoint.
    """
    found = comparisons(frame)
    names = list(dict.fromkeys(each.setting for each in found))
    if len(names) > 1:
        raise HarnessError(f"one table compares one setting, got {len(names)}: {'; '.join(names)}; choose one of them")
    for each in found:
        if each.checkpoint == checkpoint:
            return each
    known = ", ".join(each.checkpoint for each in found)
    raise HarnessError(f"there are no results for checkpoint {checkpoint!r}; there are some for {known}")


def comparisons(frame: "DataFrame") -> list[Comparison]:
    """One table for each data set, model, threat and checkpoint of the long-form results, ``best`` before ``last``.

    ``frame`` has the columns of ``results.queries.long_form`` and may have ``verdict`` and ``why``; accuracies are
    fractions. A method's seeds make one row. Trainings of one method under several protocols (another length, another
    hyperparameter) are rows of their own, named by what differs. Of several evaluations of a training by one attack the
    one with the most examples counts, then the one that found most; of several worst cases the one over as many
    examples as every attack of the row has. Where the frame has ``verdicts``, :func:`results.compare.ranks` ranks the
    worst cases.

    Raises:
        HarnessError: if the frame is empty or lacks a column.
    """
    check(frame)
    tables: list[Comparison] = []
    for setting, own in frame.groupby(list(SETTING), sort=False):
        rows = own.to_dict("records")
        checkpoints = sorted({row["checkpoint"] for row in rows}, key=_checkpoint_rank)
        tables += [_compare(rows, *map(str, setting), checkpoint=checkpoint) for checkpoint in checkpoints]
    return tables


def check(frame: "DataFrame") -> None:
    """Raise a :class:`HarnessError` if there is nothing to report, or the frame is not the long form."""
    if frame.empty:
        raise HarnessError("there are no results to report yet: run `harness run --methods all` first")
    missing = [column for column in COLUMNS if column not in frame]
    if missing:
        raise HarnessError(
            f"results to report lack the columns {', '.join(missing)}: give the long form, as `harness results` prints"
        )


def _checkpoint_rank(name: str) -> tuple[int, str]:
    return CHECKPOINTS.index(name) if name in CHECKPOINTS else len(CHECKPOINTS), name


def _compare(rows: Sequence[Record], dataset: str, model: str, threat: str, *, checkpoint: str) -> Comparison:
    scores = scores_of(rows)
    trainings = {row["train_id"]: row for row in rows if (row["train_id"], checkpoint) in scores}
    table_rows = []
    for label, members in _members(list(trainings.values())):
        own = [(row["seed"], scores[row["train_id"], checkpoint]) for row in members]
        gaps = {OVERESTIMATION: _gap((each.get("autoattack"), each.get(WORST_CASE)) for _, each in own)}
        if checkpoint == "last":
            best = (scores.get((row["train_id"], "best"), {}) for row in members)
            gaps[OVERFITTING] = _gap(
                (before.get(WORST_CASE), after.get(WORST_CASE))
                for before, (_, after) in zip(best, own, strict=True)
                if before.keys() == after.keys()
            )
        known = {name: gap for name, gap in gaps.items() if gap is not None}
        trained = tuple(each["train_id"] for each in members)
        table_rows.append(replace(_row(members[0]["method"], label, own, known), trainings=trained))
    attacks = ordered_attacks(attack for row in table_rows for attack in row.cells)
    elsewhere = {trained_at(json.loads(row["params"])) for row in trainings.values()} - {"", threat}
    marked = _mark_best(table_rows, attacks)
    table = Comparison(dataset, model, threat, checkpoint, tuple(attacks), marked, tuple(sorted(elsewhere)))
    return replace(table, rows=_rank(table))


def scores_of(rows: Iterable[Record]) -> dict[tuple[str, str], Scores]:
    """One evaluation for each training, checkpoint and attack, of rows under one threat; see :func:`comparisons`."""
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for row in rows:
        groups[row["train_id"], row["checkpoint"]].append(row)
    return {key: _choose(group) for key, group in groups.items()}


def _choose(rows: Sequence[Record]) -> Scores:
    ascending = sorted(rows, key=lambda row: (row["examples"], -row["accuracy"]))
    chosen = {row["attack"]: row for row in ascending if row["attack"] != WORST_CASE}
    common = min((row["examples"] for row in chosen.values()), default=0)
    worst = [row for row in ascending if row["attack"] == WORST_CASE]
    if worst:
        chosen[WORST_CASE] = max(worst, key=lambda row: (row["examples"] == common, row["examples"]))
    return chosen


def _members(trainings: Sequence[Record]) -> Iterable[tuple[str, list[Record]]]:
    """The trainings of each row of the table, by its label."""
    by_seed = sorted(trainings, key=lambda row: row["seed"])
    own: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for row in by_seed:
        own[row["method"], row["protocol"]].append(row)
    for place, label in labels(by_seed).items():
        yield label, own[place]


def _row(name: str, label: str, own: Sequence[tuple[int, Scores]], differences: Mapping[str, float]) -> Row:
    judged = [(seed, *_judgement(scores)) for seed, scores in own]
    verdict = max((said for _, said, _ in judged), key=_SEVERITIES.index)
    cells = {
        attack: _cell([scores[attack] for _, scores in own if attack in scores])
        for attack in dict.fromkeys(attack for _, scores in own for attack in scores)
    }
    if verdict == "masked":
        honest = {NATURAL, "adaptive"} | ({WORST_CASE} if "adaptive" in cells else set())
        cells = {attack: replace(cell, inflated=attack not in honest) for attack, cell in cells.items()}
    return Row(
        method=label,
        name=name,
        seeds=tuple(seed for seed, _ in own),
        cells=cells,
        differences=differences,
        verdict=verdict,
        why=_reasons([(seed, why) for seed, said, why in judged if said == verdict and why], name_seeds=len(own) > 1),
        verdicts={
            attack: {seed: scores[attack]["verdicts"] for seed, scores in own if "verdicts" in scores.get(attack, {})}
            for attack in cells
        },
    )


def _reasons(found: Sequence[tuple[int, str]], *, name_seeds: bool) -> str:
    """The reasons of the first seed in full; of the others, that they have the same verdict."""
    if not found or not name_seeds:
        return next((why for _, why in found), "")
    same = [seed for seed, why in found if why == found[0][1]]
    others = [seed for seed, why in found if why != found[0][1]]
    text = f"seed {_list(same)}: {found[0][1]}"
    return f"{text}; alike seed {_list(others)}" if others else text


def _list(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, seeds))


def _judgement(scores: Scores) -> tuple[str, str]:
    """The verdict on one training and its reason on one line; both empty where nobody judged."""
    rows = [row for row in scores.values() if row.get("verdict") in _SEVERITIES]
    worst = max(rows, key=lambda row: _SEVERITIES.index(row["verdict"]), default={"verdict": ""})
    why = worst.get("why")
    return worst["verdict"], " ".join(why.split()) if isinstance(why, str) else ""


def _cell(rows: Sequence[Record]) -> Cell:
    accuracies, examples = [float(row["accuracy"]) for row in rows], min(int(row["examples"]) for row in rows)
    at_least = _at_least(rows)
    if len(rows) > 1:
        low, high = t_interval(accuracies, resolution=1 / examples)
        return Cell(mean(accuracies), examples, max(low, 0.0), min(high, 1.0), stdev(accuracies), at_least)
    return Cell(accuracies[0], examples, float(rows[0]["ci_low"]), float(rows[0]["ci_high"]), at_least=at_least)


def _at_least(rows: Sequence[Record]) -> float | None:
    """The mean of what the seeds' whole attacks would leave at least; None where no example was spared."""
    known = [(row["accuracy"], row.get("accuracy_low")) for row in rows]
    lows = [accuracy if low is None or low != low else low for accuracy, low in known]  # a missing value may be a NaN
    return float(mean(lows)) if lows != [accuracy for accuracy, _ in known] else None


def _gap(pairs: Iterable[tuple[Record | None, Record | None]]) -> float | None:
    """The mean difference over the seeds that have both scores on the same number of examples."""
    gaps = [a["accuracy"] - b["accuracy"] for a, b in pairs if a and b and a["examples"] == b["examples"]]
    return float(mean(gaps)) if gaps else None


def _mark_best(rows: Sequence[Row], attacks: Sequence[str]) -> tuple[Row, ...]:
    cells = [dict(row.cells) for row in rows]
    for attack in attacks:
        # A worst case over fewer attacks than another row's is no achievement.
        entrants = [own for own in cells if attack != WORST_CASE or own.keys() >= set(attacks)]
        fair = [own[attack] for own in entrants if attack in own and not own[attack].inflated]
        top = max((float(percent(cell.accuracy)) for cell in fair), default=None)
        for own in entrants:
            cell = own.get(attack)
            if cell and not cell.inflated and float(percent(cell.accuracy)) == top:
                own[attack] = replace(cell, best=True)
    return tuple(replace(row, cells=own) for row, own in zip(rows, cells, strict=True))


def _rank(table: Comparison) -> tuple[Row, ...]:
    """The rows with the ranks of those whose worst case is over every attack of the table and no illusion."""
    entrants = {
        place: verdicts
        for place, row in enumerate(table.rows)
        if (verdicts := table.comparable(row, WORST_CASE)) and not row.cells[WORST_CASE].inflated
    }
    if len(entrants) < 2:
        return table.rows
    found = dict(zip(entrants, ranks(list(entrants.values())), strict=True))
    return tuple(replace(row, rank=found.get(place)) for place, row in enumerate(table.rows))
