"""What is wrong in a workspace and its database, and what to do about each."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from sqlalchemy import select

from results.checksums import check
from results.differences import differences
from results.errors import JobUnreadable
from results.layout import JobFiles, WorkspaceFiles
from results.lookups import missing_trainings
from results.names import CHECKPOINTS
from results.schema import StoredJob
from results.store import Store

_AGAIN = "copy it from elsewhere, or move that job's result.json away: the same `harness run` does the job again"
_TRAINED_AGAIN = "copy it from elsewhere; otherwise the next attack on the model trains it again"


class Problem(NamedTuple):
    """``what`` is wrong, and what to do (``remedy``)."""

    what: str
    remedy: str


def problems(store: Store, workspace: WorkspaceFiles) -> Iterator[Problem]:
    """Compare the database with the job directories, and every file of a finished job with its checksum.

    Raises:
        HarnessError: if there are no job directories, or the database cannot be read.
    """
    with TemporaryDirectory(prefix="harness-") as folder:
        found = Store.open(Path(folder) / workspace.database.name)
        broken = found.ingest_all(workspace.jobs).broken
        yield from (Problem(message, _AGAIN) for message in broken)
        yield from _rows(store, found, workspace)
        with found.reading() as session:
            kinds = session.execute(select(StoredJob.id, StoredJob.kind).where(StoredJob.state == "done")).all()
    for job_id, kind in kinds:
        yield from _files(workspace.job(job_id), trained=kind == "train")
    for train_id, count in missing_trainings(store).items():
        yield Problem(
            f"{train_id} is not there, but {count} evaluations of it are",
            f"copy {workspace.job(train_id).directory} there, or remove them with `harness rm {train_id}`",
        )


def _rows(store: Store, found: Store, workspace: WorkspaceFiles) -> Iterator[Problem]:
    """Where the rows are others than those that the directories make."""
    states = select(StoredJob.id, StoredJob.state)
    with store.reading() as ours, found.reading() as theirs:
        rows, jobs = ({row.id: row.state for row in each.execute(states)} for each in (ours, theirs))
        both = [job_id for job_id, state in jobs.items() if state == rows.get(job_id) == "done"]
        for job_id, difference in differences(ours, theirs, both):
            yield Problem(
                f"{job_id} is another in the database (here) than in its directory (there): {difference}",
                "`harness results rebuild` takes what the directory says, and keeps the database beside it",
            )
    for job_id in sorted(jobs):
        if jobs[job_id] == "done" and rows.get(job_id) != "done":
            yield Problem(f"{job_id} is done, and not in the database", "`harness results rebuild` stores it")
    for job_id in sorted(rows):
        files = workspace.job(job_id)
        if rows[job_id] == "done" and not files.result.exists():
            yield Problem(
                f"{job_id} is done in the database alone",
                f"copy its directory to {files.directory}, or `harness results merge` the workspace that it is of: "
                "a rebuild would leave it out",
            )


def _files(files: JobFiles, *, trained: bool) -> Iterator[Problem]:
    """Weights and images, which rebuilding does not read; without checksums, as of old, whether weights are there."""
    weights = [files.weights(checkpoint) for checkpoint in CHECKPOINTS if trained]
    for path in files.outcome:
        remedy = _TRAINED_AGAIN if path in weights else _AGAIN
        try:
            check(files, path)
        except JobUnreadable as damage:
            yield Problem(str(damage), remedy)
        else:
            if path in weights and not path.exists():
                yield Problem(f"{path} is missing", remedy)
