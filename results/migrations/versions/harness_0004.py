"""Evaluations with their backward passes, and with what stands at least where some examples were spared an attack."""

import sqlalchemy as sa
from alembic import op

revision = "harness_0004"
down_revision = "harness_0003"


def upgrade() -> None:
    op.add_column("evaluations", sa.Column("backwards", sa.BigInteger(), nullable=True))
    op.add_column("evaluations", sa.Column("correct_low", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("evaluations", "correct_low")
    op.drop_column("evaluations", "backwards")
