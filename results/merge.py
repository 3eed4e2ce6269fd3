"""Another lab's results joined with ours: the same job is one row, and what contradicts ours is named and left out."""

import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from results.differences import differences
from results.errors import HarnessError
from results.layout import JobFiles, WorkspaceFiles
from results.rebuild import copy_file, scratch
from results.schema import StoredDiagnosis, StoredEvaluation, StoredFeatures, StoredJob
from results.store import Store
from results.transfer import copy_jobs


@dataclass(frozen=True)
class Merged:
    """The ids that ``joined``, how many jobs are the ``same`` here and there, and what stays out: one message each.

    ``conflicts`` are jobs with another outcome here and what rests on them, ``broken`` directories that were not read.
    """

    joined: tuple[str, ...]
    same: int
    conflicts: tuple[str, ...]
    broken: tuple[str, ...]


def merge(other: str, store: Store, workspace: WorkspaceFiles) -> Merged:
    """Join the finished jobs of ``other``: a workspace, a database file, or the URL of a database.

    Of a workspace the job directories count, and are copied to ours; of a database there are rows alone. ``other`` is
    only read. Nothing of ours is overwritten, except that a job which failed here becomes one that is done.

    Raises:
        HarnessError: if there is no such workspace or database, or it cannot be read.
    """
    jobs = WorkspaceFiles(Path(other)).jobs if "://" not in other and Path(other).is_dir() else None
    with _opened(other, jobs, workspace) as (source, broken):
        with source.reading() as theirs, store.reading() as ours:
            same, conflicts = _compared(ours, theirs)
            joined = sorted(_done(theirs) - _done(ours) - conflicts.keys())
        if jobs:
            for job_id in joined:
                _adopt(JobFiles(jobs / job_id), workspace.job(job_id))
        with source.reading() as theirs, store.writing() as ours:
            missing = set(joined) - _done(ours)  # others may have stored some meanwhile
            for job_id in missing.intersection(ours.scalars(select(StoredJob.id))):  # failed here
                ours.execute(delete(StoredJob).where(StoredJob.id == job_id))
            copy_jobs(theirs, ours, missing)
    return Merged(tuple(joined), same, tuple(f"{name}: {why}" for name, why in sorted(conflicts.items())), broken)


@contextmanager
def _opened(other: str, jobs: Path | None, workspace: WorkspaceFiles) -> Iterator[tuple[Store, tuple[str, ...]]]:
    """The other's results as a database, a copy of it unless it is a server's; and what could not be read."""
    if "://" in other:
        yield Store.open(other, create=False), ()
        return
    with scratch(workspace.database) as folder:
        copy = folder / "other.db"
        if jobs:
            store = Store.open(copy)
            yield store, store.ingest_all(jobs).broken
            return
        if not Path(other).exists():
            raise HarnessError(
                f"there is nothing at {other}: name a workspace, a database file, or the URL of a database"
            )
        try:
            copy_file(Path(other), copy)
        except sqlite3.DatabaseError as error:
            raise HarnessError(f"{other} is no workspace and no database: {error}") from error
        yield Store.open(copy, create=False), ()


def _compared(ours: Session, theirs: Session) -> tuple[int, dict[str, str]]:
    """How many jobs are the same, and why others stay out, by id: those that differ, then what rests on them."""
    both = _done(ours) & _done(theirs)
    out = dict(differences(ours, theirs, both))
    same = len(both) - len(out)
    new = {job_id: needs for job_id, needs in _needs(theirs).items() if job_id not in both}
    while found := {job_id: need for job_id, needs in new.items() for need in needs & out.keys() if job_id not in out}:
        out |= {job_id: f"rests on {need}, which is another here" for job_id, need in found.items()}
    return same, out


def _done(session: Session) -> set[str]:
    return set(session.scalars(select(StoredJob.id).where(StoredJob.state == "done")))


def _needs(session: Session) -> Mapping[str, set[str]]:
    """The jobs that each job rests on: its training, and the evaluations that a diagnosis judged."""
    needs: dict[str, set[str]] = {}
    for table in (StoredEvaluation, StoredDiagnosis, StoredFeatures):
        needs |= {job_id: {train_id} for job_id, train_id in session.execute(select(table.job_id, table.train_id))}
    for job_id, evaluations in session.execute(select(StoredDiagnosis.job_id, StoredDiagnosis.evaluations)):
        needs[job_id].update(evaluations)
    return needs


def _adopt(source: JobFiles, target: JobFiles) -> None:
    """Copy a finished job's files, ``result.json`` last: until then the job is not done here."""
    target.directory.mkdir(parents=True, exist_ok=True)
    with FileLock(target.lock):
        if target.result.exists():
            return
        for path in (*source.outcome, source.command, source.log, source.result):
            if path.is_file():
                part = target.directory / f".{path.name}.part"  # harness clean finds what a killed process left
                shutil.copy2(path, part)
                part.replace(target.directory / path.name)
