"""Evaluations without ``stages``, which no version ever wrote: ``details`` says which part of an attack broke what."""

import sqlalchemy as sa
from alembic import op

revision = "harness_0003"
down_revision = "harness_0002"


def upgrade() -> None:
    op.drop_column("evaluations", "stages")


def downgrade() -> None:
    op.add_column("evaluations", sa.Column("stages", sa.JSON(), nullable=True))
