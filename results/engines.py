"""How a database is opened: an SQLite file, or what an SQLAlchemy URL names."""

import sqlite3
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from results.errors import HarnessError

REBUILD = "`harness results rebuild` makes it anew from the job directories"
# How long a process waits for another's transaction; each takes milliseconds.
_PATIENCE_MS = 60_000


def url_of(place: Path | str) -> URL:
    """The URL of an SQLite file, or ``place`` itself where it is one that names an installed driver."""
    if isinstance(place, Path) or "://" not in place:
        return URL.create("sqlite", database=str(place))
    try:
        url = make_url(place)
        url.get_dialect().import_dbapi()
    except (ArgumentError, ImportError) as error:
        raise HarnessError(f"database must be a file or an SQLAlchemy URL, got {place!r}: {error}") from error
    return url


def file_of(url: URL) -> Path | None:
    """The file of an SQLite URL; None for other databases and for SQLite in memory."""
    in_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    return Path(str(url.database)) if in_file else None


def remedy(error: BaseException | None) -> str:
    """What mends a database that is damaged, or that the disk has no room for; empty for other errors."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return f"; {REBUILD}"
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):  # a file beside the database that does not fit is the latter
        return "; if the disk is full, free some space, and the same command goes on"
    return ""


def engine_for(url: URL, *, archived: bool) -> Engine:
    """``archived``: the file is read where SQLite cannot lay down what it shares with writers, and none can be."""
    file = file_of(url)
    creator = partial(read_only, file, "&immutable=1" if _settled(file) else "") if archived and file else None
    engine = create_engine(url, poolclass=NullPool if file else None, **({"creator": creator} if creator else {}))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def read_only(file: Path, more: str = "") -> sqlite3.Connection:
    """A connection that writes nothing into the file; ``more`` are further parameters of its URI."""
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro{more}", uri=True)


def _settled(file: Path) -> bool:
    """Whether all transactions are in the file itself, and none in a journal beside it."""
    journal = file.with_name(f"{file.name}-wal")
    return not journal.exists() or journal.stat().st_size == 0


def _set_up_sqlite(connection: Any, _record: object) -> None:
    connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    """A transaction that will write locks at its start: one that turns from reading to writing may fail at once."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def use_wal(engine: Engine) -> None:
    """Let readers read while one process writes; kept in the file, so said once, and only of a file that is ours.

    SQLite does not wait for the lock that this needs: who does not get it leaves it to the process that has it.
    """
    with closing(engine.raw_connection()) as connection, suppress(sqlite3.OperationalError):
        connection.cursor().execute("PRAGMA journal_mode = WAL")
