"""Rows from one database into another, whatever engines they are on."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import FromClause, select
from sqlalchemy.orm import Session

from results.schema import Base, StoredJob

TOGETHER = 200  # jobs whose rows are in memory at once


def copy_jobs(source: Session, target: Session, ids: Collection[str] | None = None) -> None:
    """Copy these jobs (None: all), with all that is stored of them; ``target`` must have none of them."""
    wanted = source.scalars(select(StoredJob.id).order_by(StoredJob.id)).all() if ids is None else sorted(ids)
    for start in range(0, len(wanted), TOGETHER):
        some = wanted[start : start + TOGETHER]
        for table in Base.metadata.sorted_tables:
            rows = source.execute(select(table).where(owner(table).in_(some))).mappings().all()
            if rows:
                target.execute(table.insert(), [dict(row) for row in rows])


def owner(table: FromClause) -> Any:
    """The column with the id of the job that a row is of."""
    return table.c.id if table is StoredJob.__table__ else table.c.job_id
