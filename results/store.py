"""The store: one database of finished jobs, and how jobs come to it."""

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, delete, func, insert, inspect, select, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from results.engines import REBUILD, engine_for, explained, file_of, url_of, use_wal
from results.errors import HarnessError, JobUnreadable
from results.migrations import HEAD
from results.schema import Base, StoredJob

TOGETHER = 200  # jobs that are stored in one transaction
_JOB_PREFIXES = ("train-", "evaluate-", "diagnose-", "features-")


@dataclass(frozen=True)
class Ingested:
    """How many job directories were stored (``done``, ``failed``), known already, or still at work.

    ``broken`` holds one message for each directory that could not be read; they stay as they are.
    """

    done: int = 0
    failed: int = 0
    unchanged: int = 0
    unfinished: int = 0
    broken: tuple[str, ...] = ()


class Store:
    """Finished jobs in a database; made by :meth:`open`.

    Several processes may read and write it at the same time: every call is one transaction. Nothing is held open
    between calls.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, place: Path | str, *, create: bool = True) -> Self:
        """The store in the SQLite file ``place``, or in the database of an SQLAlchemy URL.

        A missing or empty file is made a database (with its folders) unless ``create`` is false, and an older schema is
        brought up to date. Without ``create``, what lies where nothing can be written is read all the same.

        Raises:
            HarnessError: if the file is missing, is no database or not ours, or is newer than this code.
        """
        url = url_of(place)
        file = file_of(url)
        if file is not None and not file.exists():
            if not create:
                raise HarnessError(
                    f"there is no database at {file}: `harness run` makes it, "
                    "and `harness results rebuild` recreates it from job directories"
                )
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise HarnessError(
                    f"the folder {file.parent} cannot be made: {error}; name another workspace"
                ) from error
        archived = not create and file is not None and not os.access(file.parent, os.W_OK)
        store = cls(engine_for(url, archived=archived))
        store._bring_up_to_date(create=create, archived=archived)
        return store

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one state of the database throughout, and stores nothing."""
        with self._user_errors(), Session(self._engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session whose transaction is the only one that writes, committed at the end."""
        engine = self._engine.execution_options(writes=True)
        with self._user_errors(), Session(engine) as session, session.begin():
            yield session

    @contextmanager
    def _user_errors(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as error:
            if (said := explained(error)) is None:
                raise
            raise HarnessError(f"database {self.name} cannot be used: {said}") from error

    @property
    def name(self) -> str:
        """The file or the URL, without a password."""
        return str(file_of(self._engine.url) or self._engine.url)

    def state(self) -> list[Any]:
        """What is another after every change: size and time of change of the files, or what a server holds."""
        file = file_of(self._engine.url)
        if file is None:
            counted = select(func.count(), func.max(StoredJob.finished), func.max(StoredJob.id))
            with self.reading() as session:
                return list(session.execute(counted).one())
        stats = [part.stat() for part in (file, file.with_name(f"{file.name}-wal")) if part.exists()]
        return [[stat.st_size, stat.st_mtime_ns] for stat in stats if stat.st_size]

    def ingest(self, directory: Path) -> bool:
        """Store the finished job in ``directory``; true if that changed anything.

        One transaction: a job is stored with all its epochs or verdicts, or not at all. A job that is done is never
        replaced; a failed one is, by its next outcome.

        Raises:
            HarnessError: if the job has not finished, or a file is missing, damaged or disagrees with another.
        """
        (found,) = self.ingest_several([directory])
        if isinstance(found, JobUnreadable):
            raise found
        return found != "unchanged"

    def ingest_several(self, directories: Sequence[Path]) -> list[str | JobUnreadable]:
        """Store some finished jobs in one transaction, each as :meth:`ingest` does.

        For each the state it was stored in (``done``, ``failed``), ``unchanged``, or why it was not.
        """
        from results.directory import read_job

        done = self.done([directory.name for directory in directories])
        found: list[str | JobUnreadable] = ["unchanged"] * len(directories)
        read: dict[int, StoredJob] = {}
        for place, directory in enumerate(directories):
            try:
                if directory.name.startswith(_JOB_PREFIXES) and directory.name not in done:  # no part of a job
                    read[place] = read_job(directory)
            except JobUnreadable as error:
                found[place] = error
        if read:
            for place, state in zip(read, self._add(list(read.values())), strict=True):
                found[place] = state
        return found

    def done(self, ids: Sequence[str] | None = None) -> set[str]:
        """The jobs that are stored as done, of these (a few hundred at most) or of all."""
        query = select(StoredJob.id).where(StoredJob.state == "done")
        with self.reading() as session:
            return set(session.scalars(query if ids is None else query.where(StoredJob.id.in_(ids))))

    def ingest_all(self, jobs_root: Path) -> Ingested:
        """Store every finished job under ``jobs_root`` (``WORKSPACE/jobs``), in the order of their ids.

        A broken directory does not stop the others.

        Raises:
            HarnessError: if ``jobs_root`` is no directory.
        """
        from results.directory import is_finished

        if not jobs_root.is_dir():
            raise HarnessError(f"{jobs_root} is not a directory of jobs: `harness run` makes one in WORKSPACE/jobs")
        directories = sorted(path for path in jobs_root.iterdir() if path.name.startswith(_JOB_PREFIXES))
        finished = [directory for directory in directories if is_finished(directory)]
        counts, broken = Counter(unfinished=len(directories) - len(finished)), list[str]()
        for start in range(0, len(finished), TOGETHER):
            found = self.ingest_several(finished[start : start + TOGETHER])
            broken += [str(each) for each in found if isinstance(each, JobUnreadable)]
            counts.update(each for each in found if not isinstance(each, JobUnreadable))
        return Ingested(**counts, broken=tuple(broken))

    def remove(self, ids: Collection[str]) -> None:
        """Forget these jobs, and all that is stored of them; ids that are not stored are passed over."""
        with self.writing() as session:
            for job_id in ids:
                session.execute(delete(StoredJob).where(StoredJob.id == job_id))

    def _add(self, jobs: Sequence[StoredJob]) -> list[str]:
        """Store the jobs in one transaction: for each the state it was stored in, or ``unchanged``."""
        with self.writing() as session:
            query = select(StoredJob.id, StoredJob.state, StoredJob.finished)
            known = session.execute(query.where(StoredJob.id.in_([job.id for job in jobs])))
            kept = {job_id: (state, finished) for job_id, state, finished in known}
            new = [job for job in jobs if _is_new(job, *kept.get(job.id, ("", "")))]
            if replaced := [job.id for job in new if job.id in kept]:
                session.execute(delete(StoredJob).where(StoredJob.id.in_(replaced)))
            _insert(session, new)
        added = {job.id for job in new}
        return [job.state if job.id in added else "unchanged" for job in jobs]

    def _bring_up_to_date(self, *, create: bool, archived: bool) -> None:
        with self._user_errors(), self._engine.connect() as connection:
            revision = _revision(connection, self.name)
        if revision == HEAD:
            return
        if revision is None and not create:
            raise HarnessError(f"database {self.name} is empty: {REBUILD}")
        from results.migrations.upgrade import known_revisions, upgrade

        if revision is not None and revision not in known_revisions():
            raise HarnessError(
                f"database {self.name} is at schema {revision!r}, which this version of the harness does not know "
                f"(its newest is {HEAD!r}): upgrade the harness, or name another database"
            )
        if archived:
            raise HarnessError(
                f"database {self.name} is at an older schema, and its folder cannot be written: "
                "copy the workspace to where it can be brought up to date"
            )
        with self._user_errors():
            if self._engine.dialect.name == "sqlite":
                use_wal(self._engine)
            with self._engine.execution_options(writes=True).begin() as connection:
                upgrade(connection)


def _is_new(job: StoredJob, state: str, finished: str) -> bool:
    """Whether the job takes the place of what is stored: not of one that is done, and not of itself."""
    return state != "done" and (state, finished) != (job.state, job.finished)


def _insert(session: Session, jobs: Sequence[StoredJob]) -> None:
    """The jobs and what they hold, one statement for each table: a row at a time takes ten times as long."""
    rows: dict[type[Base], list[dict[str, object]]] = defaultdict(list)
    for job in jobs:
        for each in (job, job.training, job.evaluation, job.diagnosis, job.features, *job.epochs):
            if each is not None:
                rows[type(each)].append(_row(each) | ({} if each is job else {"job_id": job.id}))
    for table, own in rows.items():
        session.execute(insert(table), own)


def _row(stored: Base) -> dict[str, object]:
    return {column.key: getattr(stored, column.key) for column in stored.__table__.columns}


def _revision(connection: Connection, name: str) -> str | None:
    """The schema revision of a database, None for an empty one."""
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    if "alembic_version" not in tables:
        raise HarnessError(f"database {name} is not the harness's: it holds {', '.join(tables[:3])}; name another")
    return str(connection.scalar(text("SELECT version_num FROM alembic_version")))
