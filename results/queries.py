"""Questions to the store; the answers are data frames, or the findings behind one verdict."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from results.audit import Audit, worst_case_may_fall
from results.filters import check_columns, matches, narrowed
from results.labels import protocol_id, settings_of, threat_label
from results.names import AUTOATTACK, NATURAL, WORST_CASE, attack_rank, ordered_attacks
from results.schema import StoredDiagnosis, StoredEpoch, StoredEvaluation, StoredJob, StoredTraining
from results.statistics import wilson
from results.verdicts import Verdicts, unpack

if TYPE_CHECKING:
    from pandas import DataFrame

    from results.store import Store

Record = dict[str, Any]
Stored = Row[Any]

_TRAINING = ("method", "dataset", "model", "seed")
_SCORE = ("accuracy", "ci_low", "ci_high", "examples")
_TRUST = ("verdict", "why", "findings", "accuracy_low")
_COST = ("threat", "seconds", "forwards", "backwards")
_ORIGIN = ("attack_params", "broken_by", "protocol", "params", "train_id", "evaluate_id")
COLUMNS = (*_TRAINING, "checkpoint", "attack", *_SCORE, *_TRUST, *_COST, *_ORIGIN)
_EPOCH = ("epoch", "lr", "loss", "validation_natural", "validation_robust")
_SPEED = ("images_per_second", "peak_memory", "seconds")
_TRAINED = ("threat", "protocol", "params", "best_epoch", "device", "started")
HISTORY_COLUMNS = (*_TRAINING, "train_id", *_EPOCH, *_SPEED, *_TRAINED)
_EVALUATION = (
    *("train_id", "checkpoint", "attack", "attack_params", "correct", "examples"),
    *("verdicts", "forwards", "backwards", "correct_low", "details"),
)
_MOST_REASONS = 3
VERDICTS, DIAGNOSED = "verdicts", "diagnosed"


def long_form(
    store: "Store",
    *,
    evaluations: Collection[str] | None = None,
    with_verdicts: bool = False,
    with_findings: bool = False,
    **equal: object,
) -> "DataFrame":
    """One row for each evaluation, and one for each worst case over them.

    ``accuracy`` is a fraction with its 95 % Wilson interval ``ci_low`` to ``ci_high``; ``seed`` is the training's.
    ``accuracy_low`` is what the whole attack would leave at least, with 95 % confidence, where some examples were
    spared a part of it; elsewhere it is missing.
    ``params`` (JSON: the settings of the training by name, the method's hyperparameters among them), ``attack_params``
    and ``broken_by`` (JSON: how many examples each part of the attack broke) are text.

    ``verdict``, its worst three reasons ``why`` and the codes of all its ``findings`` are those of the training's
    checkpoint under the threat: of several diagnoses the one that judged most of the evaluations, then the latest;
    without one it is ``suspect``. Trainings that differ in their seed alone share a ``protocol``. Rows are in the order
    of methods by name, then of data set, model, seed, training, threat, checkpoint and attack, ``natural`` first and
    ``worst-case`` last.

    The row ``worst-case`` counts the examples that withstand everything: the intersection of the verdicts on one
    training's checkpoint under one threat, the natural ones among them (the unchanged image lies in the ball).
    Where evaluations cover different numbers of examples, there is one such row for each number n, over the first
    n examples and every evaluation that has them. Its ``attack_params`` name their attacks under ``over``, its
    ``seconds``, ``forwards`` and ``backwards`` are their sums, its ``evaluate_id`` is missing. Its ``accuracy_low``
    counts the spared examples that withstand everything, and is missing where all of AutoAttack was run besides.

    Args:
        store: the open store.
        evaluations: ids of the evaluations to look at, all by default; worst cases are over these alone.
        with_verdicts: add a column ``verdicts``: whether each example was still classified correctly, bool (N,).
        with_findings: add a column ``diagnosed``: the findings behind the verdict in full (``code``, ``severity``,
            ``message``, ``evidence``, ``advice``); None without a diagnosis.
        equal: a column's value, or a list, tuple or set of the values wanted, such as ``checkpoint="best"``.

    Raises:
        HarnessError: if ``equal`` names a column that does not exist.
    """
    check_columns(equal, COLUMNS)
    with store.reading() as session:
        found, diagnoses = _evaluations(session, evaluations, equal), _diagnoses(session)
        trainings = _trainings(session)
    scored = _scored(found, diagnoses, trainings)
    rows = [{**row, VERDICTS: bits} for row, bits in scored if matches(row, equal)]
    rows.sort(key=_place)
    columns = (*COLUMNS, *[VERDICTS] * with_verdicts, *[DIAGNOSED] * with_findings)
    return _frame({name: [row[name] for row in rows] for name in columns})


def history(store: "Store", **equal: object) -> "DataFrame":
    """One row for each epoch of each finished training; the loss by term in columns ``term:NAME``.

    ``best_epoch`` is the epoch of the training's best checkpoint; ``threat``, ``protocol`` and ``params`` are as in
    :func:`long_form`. Accuracies are fractions, ``peak_memory`` bytes, ``seconds`` wall time; what a training did not
    measure is missing. ``started`` is when the last try of the training began, ISO 8601 in UTC. ``equal`` is as in
    :func:`long_form`.

    Raises:
        HarnessError: if ``equal`` names a column that does not exist.
    """
    check_columns(equal, HISTORY_COLUMNS)
    names = ("job_id", *_EPOCH, *_SPEED, "terms")
    with store.reading() as session:
        trainings = sorted(map(_trained, _jobs_with_epochs(session, equal)), key=_first)
        query = select(*(getattr(StoredEpoch, name) for name in names)).order_by(StoredEpoch.job_id, StoredEpoch.epoch)
        epochs = session.execute(narrowed(query, {"train_id": StoredEpoch.job_id}, equal)).all()
    own = {job_id: list(each) for job_id, each in groupby(epochs, key=attrgetter("job_id"))}
    every = ((training, epoch) for training in trainings for epoch in own[training["train_id"]])
    rows = [pair for pair in every if not equal or matches(pair[0] | dict(pair[1]._mapping), equal)]
    terms = dict.fromkeys(name for _, epoch in rows for name in epoch.terms)
    found = {name: [training.get(name) for training, _ in rows] for name in HISTORY_COLUMNS}
    found |= {name: [epoch[place] for _, epoch in rows] for place, name in enumerate(names) if name in found}
    return _frame(found | {f"term:{name}": [epoch.terms.get(name) for _, epoch in rows] for name in terms})


def _evaluations(
    session: Session, ids: Collection[str] | None = None, equal: Mapping[str, object] | None = None
) -> list[Stored]:
    """Those of whole subjects (:func:`_subject`), as many as the filters leave."""
    job = (StoredJob.id, StoredJob.threat_norm, StoredJob.threat_eps, StoredJob.seconds)
    own = [getattr(StoredEvaluation, name) for name in _EVALUATION]
    query = select(*job, *own).join(StoredEvaluation.job).order_by(StoredEvaluation.job_id)
    columns = {name: getattr(StoredJob, name) for name in ("method", "dataset", "model")}
    columns |= {name: getattr(StoredEvaluation, name) for name in ("train_id", "checkpoint")}
    found = session.execute(narrowed(query, columns, equal or {})).all()
    return [each for each in found if ids is None or each.id in ids]


def _diagnoses(session: Session) -> list[Stored]:
    job = (StoredJob.threat_norm, StoredJob.threat_eps, StoredJob.finished)
    own = [getattr(StoredDiagnosis, name) for name in ("train_id", "checkpoint", "verdict", "findings", "evaluations")]
    return list(session.execute(select(*job, *own).join(StoredDiagnosis.job)).all())


def _trainings(session: Session) -> dict[str, Record]:
    """What the rows of a training have in common, by its id: the hash of a spec that each of its evaluations has."""
    one_each = select(func.min(StoredEvaluation.job_id)).group_by(StoredEvaluation.train_id)
    columns = (StoredEvaluation.train_id, StoredJob.spec, *(getattr(StoredJob, name) for name in _TRAINING))
    found = session.execute(select(*columns).join(StoredEvaluation.job).where(StoredJob.id.in_(one_each)))
    return {each.train_id: _training(each, each.train_id) for each in found}


def _scored(
    evaluations: Iterable[Stored], diagnoses: Iterable[Stored], trainings: Mapping[str, Record]
) -> Iterator[tuple[Record, Verdicts]]:
    """Every row of the long form with its verdicts."""
    diagnosed, groups = defaultdict(list), defaultdict(list)
    for diagnosis in diagnoses:
        diagnosed[_subject(diagnosis)].append(diagnosis)
    for each in evaluations:
        row = {**trainings[each.train_id], **_measured(each)}
        groups[_subject(each)].append((row, unpack(each.verdicts, each.examples)))
    for subject, group in groups.items():
        trust = _trust(diagnosed[subject], {row["evaluate_id"] for row, _ in group})
        for row, bits in (*group, *_worst_cases(group)):
            yield {**row, **trust}, bits


def _subject(each: Stored) -> tuple[object, ...]:
    """What a verdict belongs to: one checkpoint of one training under one threat."""
    return each.train_id, each.checkpoint, each.threat_norm, each.threat_eps


def _trust(diagnoses: Iterable[Stored], evaluations: set[str]) -> Record:
    def covers(each: Stored) -> tuple[int, str]:
        return len(evaluations.intersection(each.evaluations)), each.finished

    chosen = max(diagnoses, key=covers, default=None)
    if chosen is None:
        undiagnosed = "not diagnosed: the run was cut off; the same command goes on"
        return {"verdict": "suspect", "why": undiagnosed, "findings": "", DIAGNOSED: None}
    ordered = worst_first(chosen.findings, chosen.verdict)
    why = [f"{finding['message']} ({finding['evidence']})" for finding in ordered[:_MOST_REASONS]]
    if len(ordered) > len(why):
        why.append(f"and {len(ordered) - len(why)} more")
    codes = ",".join(finding["code"] for finding in chosen.findings)
    return {"verdict": chosen.verdict, "why": "; ".join(why), "findings": codes, DIAGNOSED: chosen.findings}


def worst_first(findings: Iterable[Record], verdict: str) -> list[Record]:
    """Those that make the verdict before the others."""
    return sorted(findings, key=lambda finding: finding["severity"] != verdict)


def _worst_cases(group: Sequence[tuple[Record, Verdicts]]) -> Iterator[tuple[Record, Verdicts]]:
    """For each number of examples, the row over every evaluation that has so many; none over natural ones alone."""
    for n in sorted({len(bits) for _, bits in group}):
        rows = [row for row, bits in group if len(bits) >= n]
        over = ordered_attacks(row["attack"] for row in rows)
        if over != [NATURAL]:
            withstood: Verdicts = np.logical_and.reduce([bits[:n] for _, bits in group if len(bits) >= n])
            audits = [] if set(over).intersection(AUTOATTACK) else [row["audit"] for row in rows if row["audit"]]
            may_fall = worst_case_may_fall(withstood, audits)
            backwards = [row["backwards"] for row in rows]
            yield (
                {
                    **rows[0],
                    **_score(int(withstood.sum()), n, may_fall),
                    "attack": WORST_CASE,
                    "attack_params": json.dumps({"over": over}),
                    "seconds": sum(row["seconds"] for row in rows),
                    "forwards": sum(row["forwards"] for row in rows),
                    "backwards": None if None in backwards else sum(backwards),
                    "broken_by": None,
                    "evaluate_id": None,
                },
                withstood,
            )


def _measured(evaluation: Stored) -> Record:
    low = evaluation.correct_low
    may_fall = 0 if low is None else evaluation.correct - low
    return {
        **_score(evaluation.correct, evaluation.examples, may_fall),
        "audit": Audit(evaluation.details.get("spared", []), may_fall) if may_fall else None,
        "checkpoint": evaluation.checkpoint,
        "attack": evaluation.attack,
        "threat": threat_label(evaluation.threat_norm, evaluation.threat_eps),
        "seconds": evaluation.seconds,
        "forwards": evaluation.forwards,
        "backwards": evaluation.backwards,
        "attack_params": json.dumps(evaluation.attack_params, sort_keys=True),
        "broken_by": _counts(evaluation.details.get("broken_by", {})),
        "evaluate_id": evaluation.id,
    }


def _counts(broken_by: Mapping[str, Sequence[int]]) -> str:
    return json.dumps({part: len(found) for part, found in broken_by.items()})


def _score(correct: int, n: int, may_fall: int) -> Record:
    low, high = wilson(correct, n)
    at_least = (correct - may_fall) / n if may_fall else None
    return {"accuracy": correct / n, "ci_low": low, "ci_high": high, "examples": n, "accuracy_low": at_least}


def _training(job: Stored, train_id: str) -> Record:
    spec = job.spec.get("train", job.spec)
    return {
        **{name: getattr(job, name) for name in _TRAINING},
        "protocol": protocol_id(spec),
        "params": json.dumps(settings_of(spec)),
        "train_id": train_id,
    }


def _jobs_with_epochs(session: Session, equal: Mapping[str, object]) -> Iterable[Stored]:
    names = ("id", *_TRAINING, "spec", "threat_norm", "threat_eps", "device", "started")
    query = select(*(getattr(StoredJob, name) for name in names), StoredTraining.best_epoch)
    columns = {name: getattr(StoredJob, name) for name in ("method", "dataset", "model")} | {"train_id": StoredJob.id}
    return session.execute(narrowed(query.outerjoin(StoredJob.training).where(StoredJob.epochs.any()), columns, equal))


def _trained(job: Stored) -> Record:
    """What the rows of all epochs of a training have in common."""
    about = {name: getattr(job, name) for name in ("best_epoch", "device", "started")}
    return {**_training(job, job.id), "threat": threat_label(job.threat_norm, job.threat_eps), **about}


def _first(row: Record) -> tuple[Any, ...]:
    """What every frame is sorted by: method, and the other marks of a training."""
    return row["method"], row["dataset"], row["model"], row["seed"], row["train_id"]


def _place(row: Record) -> tuple[Any, ...]:
    attack = (attack_rank(row["attack"]), row["attack_params"], row["examples"], row["evaluate_id"] or "")
    return *_first(row), row["threat"], row["checkpoint"], attack


def _frame(values: Mapping[str, Sequence[object]]) -> "DataFrame":
    from pandas import DataFrame

    return DataFrame(dict(values))
