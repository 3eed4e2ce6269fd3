"""The database made anew from the job directories, which alone are the record."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

from filelock import FileLock, Timeout
from sqlalchemy import delete, select

from results.engines import file_of, read_only, url_of
from results.errors import HarnessError
from results.layout import WorkspaceFiles
from results.schema import StoredJob
from results.store import Ingested, Store
from results.transfer import copy_jobs


def rebuild(place: Path | str, jobs_root: Path) -> tuple[Ingested, Path | None]:
    """Make the database at ``place`` (a file or a URL) anew from the job directories under ``jobs_root``.

    Built in a file of its own, then put in the old one's place in one transaction: whoever reads meanwhile, and
    whoever opens it after a crash, finds the old or the new content. The old content is kept in an SQLite file beside
    the database, or in the workspace where that is no file, for it may know jobs whose directories are gone; its path
    is returned, None if there was none.

    Raises:
        HarnessError: if ``jobs_root`` is no directory, or the database cannot be read or written.
    """
    file = file_of(url_of(place))
    beside = file or WorkspaceFiles(jobs_root.parent).database
    with scratch(beside) as folder:
        new = folder / beside.name
        counts = Store.open(new).ingest_all(jobs_root)
        kept = _replace_file(new, file) if file else _replace_rows(Store.open(new), Store.open(place), beside)
    Store.open(place).ingest_all(jobs_root)  # what a run still going on has finished since
    return counts, kept


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """A folder beside ``path``, removed afterwards; those that killed processes left behind are removed first."""
    prefix = f".{path.name}-"
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f"{prefix}*/"):
        with suppress(Timeout), FileLock(left / "lock", timeout=0):
            rmtree(left)
    with TemporaryDirectory(prefix=prefix, dir=path.parent) as made, FileLock(Path(made) / "lock"):
        yield Path(made)


def copy_file(source: Path, target: Path) -> None:
    """Make ``target`` hold what ``source`` holds, in one SQLite transaction; ``source`` is only read."""
    try:
        with closing(read_only(source)) as old, closing(sqlite3.connect(target)) as new:
            old.backup(new)
    except sqlite3.OperationalError as error:
        raise HarnessError(f"database {source} cannot be copied to {target}: {error}") from error


def _replace_file(new: Path, path: Path) -> Path | None:
    kept = _keep(path) if path.exists() else None
    copy_file(new, path)
    return kept


def _replace_rows(new: Store, store: Store, beside: Path) -> Path | None:
    kept = None
    with new.reading() as source, store.writing() as target:
        if target.scalar(select(StoredJob.id).limit(1)):
            kept = _free(beside)
            with Store.open(kept).writing() as backup:
                copy_jobs(target, backup)
            target.execute(delete(StoredJob))
        copy_jobs(source, target)
    return kept


def _keep(path: Path) -> Path:
    """Keep the database under a free name; one too damaged to be copied is moved away with its journals."""
    kept = _free(path)
    try:
        copy_file(path, kept)
    except sqlite3.DatabaseError:
        for suffix in ("-wal", "-shm", ""):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.replace(kept.with_name(kept.name + suffix))
    return kept


def _free(path: Path) -> Path:
    """The first name for a database that is kept beside ``path``."""
    names = (path.with_name(f"{path.name}.bak{number or ''}") for number in count())
    return next(name for name in names if not name.exists())
