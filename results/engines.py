"""How a database is opened: an SQLite file, or what an SQLAlchemy URL names, such as a PostgreSQL server's."""

import json
import math
import sqlite3
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError

from results.errors import HarnessError, optional

REBUILD = "`harness results rebuild` makes it anew from the job directories"
# How long a process waits for another's transaction; each takes milliseconds.
_PATIENCE_MS = 60_000
_OURS = 0x68726E73  # PostgreSQL's number of the lock that whoever writes holds: any that nobody else uses
# PostgreSQL refuses what the role may not do, and all writing on a copy that only reads.
_REFUSED = ("42501", "25006")


def url_of(place: Path | str) -> URL:
    """The URL of an SQLite file, or ``place`` itself where it is one that names an installed driver."""
    if isinstance(place, Path) or "://" not in place:
        return URL.create("sqlite", database=str(place))
    shown = place
    try:
        url = make_url(place)
        shown = str(url)  # without a password
        if url.get_backend_name() == "postgresql" and url.get_driver_name() == "psycopg":
            optional("psycopg", "postgres")
        url.get_dialect().import_dbapi()
    except (ArgumentError, ImportError) as error:
        raise HarnessError(f"database must be a file or an SQLAlchemy URL, got {shown!r}: {error}") from error
    return url


def file_of(url: URL) -> Path | None:
    """The file of an SQLite URL; None for other databases and for SQLite in memory."""
    in_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    return Path(str(url.database)) if in_file else None


def explained(error: DatabaseError) -> str | None:
    """What a database says in one line, with what mends it; None for what only a mistake in our code can bring about.

    A database that is damaged or that the disk has no room for, a server that does not answer or refuses.
    """
    refused = getattr(error.orig, "sqlstate", None) in _REFUSED
    if type(error) not in (DatabaseError, OperationalError) and not refused:
        return None
    return " ".join(str(error.orig).split()) + _remedy(error.orig)


def _remedy(error: BaseException | None) -> str:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return f"; {REBUILD}"
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):  # a file beside the database that does not fit is the latter
        return "; if the disk is full, free some space, and the same command goes on"
    return ""


def engine_for(url: URL, *, archived: bool) -> Engine:
    """``archived``: the file is read where SQLite cannot lay down what it shares with writers, and none can be."""
    file = file_of(url)
    options: dict[str, Any] = {"json_serializer": _plain_json}
    if file or url.get_backend_name() != "sqlite":  # what is in memory is gone with its connection
        options["poolclass"] = NullPool
    if archived and file:
        options["creator"] = partial(read_only, file, "&immutable=1" if _settled(file) else "")
    engine = create_engine(url, **options)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    if engine.dialect.name == "postgresql":
        event.listen(engine, "begin", _begin_postgresql)
    return engine


def _plain_json(value: Any) -> str:
    """As JSON, in which PostgreSQL takes no NaN and no infinity: they become null."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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


def _begin_postgresql(connection: Connection) -> None:
    """As with SQLite one writes at a time, and who reads sees one state throughout.

    The lock goes with the transaction, and with a process or machine that is gone.
    """
    if not connection.get_execution_options().get("writes", False):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return
    for statement in (
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",  # what is read begins after the wait for the lock
        f"SET LOCAL lock_timeout = {_PATIENCE_MS}",
        f"SET LOCAL idle_in_transaction_session_timeout = {_PATIENCE_MS}",
        f"SELECT pg_advisory_xact_lock({_OURS})",
    ):
        connection.exec_driver_sql(statement)


def use_wal(engine: Engine) -> None:
    """Let readers read while one process writes; kept in the file, so said once, and only of a file that is ours.

    SQLite does not wait for the lock that this needs: who does not get it leaves it to the process that has it.
    """
    with closing(engine.raw_connection()) as connection, suppress(sqlite3.OperationalError):
        connection.cursor().execute("PRAGMA journal_mode = WAL")
