"""Evaluations without ``stages``, which no version ever wrote, and ``warnings``, which are checks now."""

import sqlalchemy as sa
from alembic import op

revision = "harness_0003"
down_revision = "harness_0002"


def upgrade() -> None:
    op.drop_column("evaluations", "stages")
    op.drop_column("evaluations", "warnings")


def downgrade() -> None:
    op.add_column("evaluations", sa.Column("warnings", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("evaluations", sa.Column("stages", sa.JSON(), nullable=True))
