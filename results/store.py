"""The store: one database of finished jobs, and the only module that opens it."""

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, delete, event, inspect, make_url, select, text
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlalchemy.orm import Session

from results.errors import HarnessError
from results.migrations import HEAD
from results.schema import StoredJob

# How long a process waits for another's transaction; each takes milliseconds.
_PATIENCE_MS = 60_000
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

        A missing file is made (with its folders) unless ``create`` is false, and an older schema is brought up to
        date.

        Raises:
            HarnessError: if the file is missing, is no database or not ours, or is newer than this code.
        """
        url = _url(place)
        file = _file(url)
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
        store = cls(_engine(url))
        store._bring_up_to_date()
        return store

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one state of the database throughout, and stores nothing."""
        with self._user_errors(), Session(self._engine) as session:
            yield session

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        engine = self._engine.execution_options(writes=True)
        with self._user_errors(), Session(engine) as session, session.begin():
            yield session

    @contextmanager
    def _user_errors(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as error:
            if type(error) not in (DatabaseError, OperationalError):
                raise
            raise HarnessError(f"database {self._name} cannot be used: {error.orig}") from error

    @property
    def _name(self) -> str:
        return str(_file(self._engine.url) or self._engine.url)

    def ingest(self, directory: Path) -> bool:
        """Store the finished job in ``directory``; true if that changed anything.

        One transaction: a job is stored with all its epochs or verdicts, or not at all. A job that is done is never
        replaced; a failed one is, by its next outcome.

        Raises:
            HarnessError: if the job has not finished, or a file is missing, damaged or disagrees with another.
        """
        return self._ingest(directory) is not None

    def ingest_all(self, jobs_root: Path) -> Ingested:
        """Store every finished job under ``jobs_root`` (``WORKSPACE/jobs``), in the order of their ids.

        A broken directory does not stop the others.

        Raises:
            HarnessError: if ``jobs_root`` is no directory.
        """
        from results.directory import is_finished

        if not jobs_root.is_dir():
            raise HarnessError(f"{jobs_root} is not a directory of jobs: `harness run` makes one in WORKSPACE/jobs")
        counts: Counter[str] = Counter()
        broken = []
        for directory in sorted(path for path in jobs_root.iterdir() if path.name.startswith(_JOB_PREFIXES)):
            try:
                outcome = (self._ingest(directory) or "unchanged") if is_finished(directory) else "unfinished"
                counts[outcome] += 1
            except HarnessError as error:
                broken.append(str(error))
        return Ingested(**counts, broken=tuple(broken))

    def remove(self, ids: Collection[str]) -> None:
        """Forget these jobs, and all that is stored of them; ids that are not stored are passed over."""
        with self._writing() as session:
            for job_id in ids:
                session.execute(delete(StoredJob).where(StoredJob.id == job_id))

    def _ingest(self, directory: Path) -> str | None:
        """The state that was stored, or None where nothing had to be."""
        from results.directory import read_job

        with self.reading() as session:
            if session.scalar(select(StoredJob.state).where(StoredJob.id == directory.name)) == "done":
                return None
        job = read_job(directory)
        state = job.state
        with self._writing() as session:
            stored = session.get(StoredJob, job.id)
            if stored is not None:
                if stored.state == "done" or (stored.state, stored.finished) == (state, job.finished):
                    return None
                session.delete(stored)
                session.flush()
            session.add(job)
        return state

    def _bring_up_to_date(self) -> None:
        with self._user_errors(), self._engine.connect() as connection:
            revision = _revision(connection, self._name)
        if revision == HEAD:
            return
        from results.migrations.upgrade import known_revisions, upgrade

        if revision is not None and revision not in known_revisions():
            raise HarnessError(
                f"database {self._name} is at schema {revision!r}, which this version of the harness does not know "
                f"(its newest is {HEAD!r}): upgrade the harness, or name another database"
            )
        with self._user_errors():
            if self._engine.dialect.name == "sqlite":
                _use_wal(self._engine)
            with self._engine.execution_options(writes=True).begin() as connection:
                upgrade(connection)


def rebuild(path: Path, jobs_root: Path) -> tuple[Ingested, Path | None]:
    """Make the SQLite database at ``path`` anew from the job directories under ``jobs_root``.

    Built beside the old one, then put in its place in one transaction: whoever reads meanwhile, and whoever opens
    it after a crash, finds the old or the new content. The old database is kept beside it, for it may know jobs
    whose directories are gone; its path is returned, None if there was none.

    Raises:
        HarnessError: if ``jobs_root`` is no directory, or the database cannot be read or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as scratch:
        new = Path(scratch) / path.name
        counts = Store.open(new).ingest_all(jobs_root)
        kept = _keep(path) if path.exists() else None
        _copy(new, path)
    Store.open(path).ingest_all(jobs_root)  # what a run still going on has finished since
    return counts, kept


def _keep(path: Path) -> Path:
    """Keep the database under a free name; one too damaged to be copied is moved away with its journals."""
    names = (path.with_name(f"{path.name}.bak{number or ''}") for number in count())
    kept = next(name for name in names if not name.exists())
    try:
        _copy(path, kept)
    except sqlite3.DatabaseError:
        for suffix in ("-wal", "-shm", ""):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.replace(kept.with_name(kept.name + suffix))
    return kept


def _copy(source: Path, target: Path) -> None:
    """Make ``target`` hold what ``source`` holds, in one SQLite transaction; ``source`` is only read."""
    read_only = f"{source.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(read_only, uri=True)) as old, closing(sqlite3.connect(target)) as new:
            old.backup(new)
    except sqlite3.OperationalError as error:
        raise HarnessError(f"database {source} cannot be copied to {target}: {error}") from error


def _url(place: Path | str) -> URL:
    if isinstance(place, Path) or "://" not in place:
        return URL.create("sqlite", database=str(place))
    try:
        url = make_url(place)
        url.get_dialect().import_dbapi()
    except (ArgumentError, ImportError) as error:
        raise HarnessError(f"database must be a file or an SQLAlchemy URL, got {place!r}: {error}") from error
    return url


def _file(url: URL) -> Path | None:
    """The file of an SQLite URL; None for other databases and for SQLite in memory."""
    in_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    return Path(str(url.database)) if in_file else None


def _engine(url: URL) -> Engine:
    engine = create_engine(url, poolclass=NullPool if _file(url) else None)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:
    connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    """A transaction that will write locks at its start: one that turns from reading to writing may fail at once."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _use_wal(engine: Engine) -> None:
    """Let readers read while one process writes; kept in the file, so said once, and only of a file that is ours.

    SQLite does not wait for the lock that this needs: who does not get it leaves it to the process that has it.
    """
    with closing(engine.raw_connection()) as connection, suppress(sqlite3.OperationalError):
        connection.cursor().execute("PRAGMA journal_mode = WAL")


def _revision(connection: Connection, name: str) -> str | None:
    """The schema revision of a database, None for an empty one."""
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    if "alembic_version" not in tables:
        raise HarnessError(f"database {name} is not the harness's: it holds {', '.join(tables[:3])}; name another file")
    return str(connection.scalar(text("SELECT version_num FROM alembic_version")))
