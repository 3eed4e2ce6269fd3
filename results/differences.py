"""Where two databases contradict one another: the same job with two outcomes."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from results.schema import Base
from results.transfer import TOGETHER, owner
from results.verdicts import unpack

# What a job's outcome is, in the order in which it is told; not what it cost, nor texts with numbers in them.
_OUTCOME = {
    "jobs": ("spec",),
    "trainings": ("total_epochs", "best_epoch"),
    "epochs": ("epoch", "loss", "validation_natural", "validation_robust"),
    "evaluations": ("examples", "correct", "verdicts"),
    "diagnoses": ("verdict",),
}
_Rows = Sequence[Mapping[str, Any]]


def differences(ours: Session, theirs: Session, ids: Collection[str]) -> Iterator[tuple[str, str]]:
    """The jobs among these, done in both, whose outcomes differ: id, and the first difference in words."""
    wanted = sorted(ids)
    for start in range(0, len(wanted), TOGETHER):
        some = wanted[start : start + TOGETHER]
        told: dict[str, str] = {}
        for name, columns in _OUTCOME.items():
            here, there = (_rows(session, name, columns, some) for session in (ours, theirs))
            for job_id in some:
                if here[job_id] != there[job_id]:
                    told.setdefault(job_id, _in_words(columns, here[job_id], there[job_id]))
        yield from sorted(told.items())


def _rows(session: Session, name: str, columns: Sequence[str], ids: Collection[str]) -> Mapping[str, _Rows]:
    table = Base.metadata.tables[name]
    chosen = select(owner(table).label("owner"), *(table.c[column] for column in columns))
    ordered = chosen.where(owner(table).in_(ids)).order_by(*table.primary_key)
    found = defaultdict[str, list[Mapping[str, Any]]](list)
    for row in session.execute(ordered).mappings():
        found[row["owner"]].append(dict(row))
    return found


def _in_words(columns: Sequence[str], here: _Rows, there: _Rows) -> str:
    if len(here) != len(there):
        return f"{len(here)} rows here, {len(there)} there"
    pairs = zip(here, there, strict=True)
    column, mine, yours = next((c, a, b) for a, b in pairs for c in columns if a[c] != b[c])
    if column == "spec":
        return "another spec under the same id"
    if column == "verdicts":
        n = mine["examples"]
        differing = np.count_nonzero(unpack(mine[column], n) != unpack(yours[column], n))
        return f"verdicts on {differing} of {n} examples"
    where = f" of epoch {mine['epoch']}" if "epoch" in columns else ""
    return f"{column}{where}: {mine[column]} here, {yours[column]} there"
