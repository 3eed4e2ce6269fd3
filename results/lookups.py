"""What the store knows of single jobs, trainings and methods beside their numbers."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import joinedload

from results.features import Features, arrays
from results.schema import StoredEvaluation, StoredFeatures, StoredJob

if TYPE_CHECKING:
    from results.store import Store

Record = dict[str, Any]


def provenance(store: "Store", jobs: Collection[str]) -> dict[str, Record]:
    """What computed each job, by its id: ``device``, ``versions`` by package, ``code``, ``started``, ``finished``."""
    columns = ("device", "versions", "code", "started", "finished")
    with store.reading() as session:
        found = session.scalars(select(StoredJob).where(StoredJob.id.in_(jobs))).all()
        return {job.id: {name: getattr(job, name) for name in columns} for job in found}


def papers(store: "Store") -> dict[str, Record]:
    """Where the methods come from, by name: ``title``, ``url`` and ``bibtex``, as their latest training said.

    Missing are methods that name no paper, and those trained by a version that did not keep it.
    """
    trained = select(StoredJob.method, StoredJob.extra).where(StoredJob.kind == "train", StoredJob.state == "done")
    with store.reading() as session:
        rows = session.execute(trained.order_by(StoredJob.finished, StoredJob.id)).all()
    return {method: extra["paper"] for method, extra in rows if extra and extra.get("paper")}


def stored_features(store: "Store") -> list[Features]:
    """Of every checkpoint that has any; of several, the one measured last comes last."""
    with store.reading() as session:
        found = session.scalars(select(StoredFeatures).options(joinedload(StoredFeatures.job))).all()
    found = sorted(found, key=lambda each: (each.job.finished, each.job_id))
    return [
        Features(each.job_id, each.train_id, each.checkpoint, each.job.threat, each.embedding, **arrays(each.arrays))
        for each in found
    ]


def missing_trainings(store: "Store") -> dict[str, int]:
    """The trainings that are not stored but have evaluations that are, by id: how many."""
    own = select(StoredJob.id)
    stored = select(StoredEvaluation.train_id, func.count()).where(StoredEvaluation.train_id.not_in(own))
    trainings = StoredEvaluation.train_id.startswith("train-")
    with store.reading() as session:
        rows = session.execute(stored.where(trainings).group_by(StoredEvaluation.train_id)).all()
    return {row[0]: row[1] for row in rows}
