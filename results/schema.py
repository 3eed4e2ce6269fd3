"""The tables, as typed models. A change here needs a migration in :mod:`results.migrations`: a test compares them."""

from typing import Any

from sqlalchemy import JSON, BigInteger, Double, ForeignKey, LargeBinary, MetaData, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column, relationship

from results.labels import threat_label

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(MappedAsDataclass, DeclarativeBase, kw_only=True):
    """Models are dataclasses: their fields are given by keyword."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {  # noqa: RUF012 - the name and form SQLAlchemy asks for
        dict[str, Any]: JSON(none_as_null=True),
        list[str]: JSON(none_as_null=True),
        list[dict[str, Any]]: JSON(none_as_null=True),
        bytes: LargeBinary(),
        float: Double(),
    }


class StoredJob(Base):
    """A finished job, with all that is needed to run it again.

    ``spec`` is the whole resolved specification; the columns from ``method`` to ``threat_eps`` repeat what queries
    select by (``method`` to ``seed`` are those of the training, for evaluations too; the threat is the job's own).
    Times are ISO 8601 in UTC, ``seconds`` the wall time of the last try.
    """

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    state: Mapped[str]
    method: Mapped[str]
    dataset: Mapped[str]
    model: Mapped[str]
    seed: Mapped[int] = mapped_column(BigInteger)
    threat_norm: Mapped[str]
    threat_eps: Mapped[float]
    spec: Mapped[dict[str, Any]]
    finished: Mapped[str]
    started: Mapped[str | None] = mapped_column(default=None)
    seconds: Mapped[float | None] = mapped_column(default=None)
    device: Mapped[str | None] = mapped_column(default=None)
    versions: Mapped[dict[str, Any] | None] = mapped_column(default=None)
    code: Mapped[str | None] = mapped_column(default=None)
    extra: Mapped[dict[str, Any] | None] = mapped_column(default=None)
    error: Mapped[str | None] = mapped_column(Text, default=None)
    traceback: Mapped[str | None] = mapped_column(Text, default=None)
    log: Mapped[str | None] = mapped_column(default=None)

    training: Mapped["StoredTraining | None"] = relationship(back_populates="job", default=None)
    evaluation: Mapped["StoredEvaluation | None"] = relationship(back_populates="job", default=None)
    diagnosis: Mapped["StoredDiagnosis | None"] = relationship(back_populates="job", default=None)
    features: Mapped["StoredFeatures | None"] = relationship(back_populates="job", default=None)
    epochs: Mapped[list["StoredEpoch"]] = relationship(back_populates="job", default_factory=list)

    @property
    def threat(self) -> str:
        """The threat as people write it, for example ``Linf 8/255``."""
        return threat_label(self.threat_norm, self.threat_eps)


class StoredTraining(Base):
    """What a training ended with. ``peak_memory`` is in bytes (None where it cannot be measured)."""

    __tablename__ = "trainings"

    job_id: Mapped[str] = mapped_column(ForeignKey(StoredJob.id, ondelete="CASCADE"), primary_key=True, init=False)
    best_epoch: Mapped[int]
    total_epochs: Mapped[int]
    images_per_second: Mapped[float]
    peak_memory: Mapped[int | None] = mapped_column(BigInteger)
    parameters: Mapped[int] = mapped_column(BigInteger)
    job: Mapped[StoredJob] = relationship(back_populates="training", init=False, repr=False)


class StoredEpoch(Base):
    """One epoch of a training's history; accuracies are fractions, ``terms`` the loss by named term."""

    __tablename__ = "epochs"

    job_id: Mapped[str] = mapped_column(ForeignKey(StoredJob.id, ondelete="CASCADE"), primary_key=True, init=False)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    lr: Mapped[float]
    loss: Mapped[float]
    terms: Mapped[dict[str, Any]]
    validation_natural: Mapped[float | None]
    validation_robust: Mapped[float | None]
    images_per_second: Mapped[float | None]
    peak_memory: Mapped[int | None] = mapped_column(BigInteger)
    seconds: Mapped[float | None]
    job: Mapped[StoredJob] = relationship(back_populates="epochs", init=False, repr=False)


class StoredEvaluation(Base):
    """One model under one attack. ``verdicts`` are ``examples`` bits (see :mod:`results.verdicts`).

    ``correct_low`` is set where some examples were spared a part of the attack: with 95 % confidence at least so many
    would stand under the whole of it. ``backwards`` is missing where an older version did not count them.
    ``train_id`` names the job that trained the model; that job may be unknown here, where only the evaluations of
    another machine were copied.
    """

    __tablename__ = "evaluations"

    job_id: Mapped[str] = mapped_column(ForeignKey(StoredJob.id, ondelete="CASCADE"), primary_key=True, init=False)
    train_id: Mapped[str] = mapped_column(index=True)
    checkpoint: Mapped[str]
    attack: Mapped[str]
    attack_params: Mapped[dict[str, Any]]
    correct: Mapped[int]
    examples: Mapped[int]
    verdicts: Mapped[bytes] = mapped_column(repr=False)
    forwards: Mapped[int] = mapped_column(BigInteger)
    details: Mapped[dict[str, Any]]
    backwards: Mapped[int | None] = mapped_column(BigInteger, default=None)
    correct_low: Mapped[int | None] = mapped_column(default=None)
    job: Mapped[StoredJob] = relationship(back_populates="evaluation", init=False, repr=False)


class StoredDiagnosis(Base):
    """Whether the numbers of one checkpoint are to be believed: ``verdict`` and the ``findings`` that it rests on.

    ``evaluations`` are the ids of the jobs whose results were judged, ``probes`` what was measured on the model for it.
    """

    __tablename__ = "diagnoses"

    job_id: Mapped[str] = mapped_column(ForeignKey(StoredJob.id, ondelete="CASCADE"), primary_key=True, init=False)
    train_id: Mapped[str] = mapped_column(index=True)
    checkpoint: Mapped[str]
    verdict: Mapped[str]
    findings: Mapped[list[dict[str, Any]]]
    probes: Mapped[dict[str, Any]]
    evaluations: Mapped[list[str]]
    job: Mapped[StoredJob] = relationship(back_populates="diagnosis", init=False, repr=False)


class StoredFeatures(Base):
    """What the final classifier sees of the test images of one checkpoint (see :mod:`results.features`).

    ``embedding`` is the kind of map, ``arrays`` the job's ``features.npz``.
    """

    __tablename__ = "features"

    job_id: Mapped[str] = mapped_column(ForeignKey(StoredJob.id, ondelete="CASCADE"), primary_key=True, init=False)
    train_id: Mapped[str] = mapped_column(index=True)
    checkpoint: Mapped[str]
    embedding: Mapped[str]
    arrays: Mapped[bytes] = mapped_column(repr=False)
    job: Mapped[StoredJob] = relationship(back_populates="features", init=False, repr=False)
