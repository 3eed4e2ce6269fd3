"""Diagnoses: a verdict on each checkpoint, with its findings."""

import sqlalchemy as sa
from alembic import op

revision = "harness_0002"
down_revision = "harness_0001"


def upgrade() -> None:
    op.create_table(
        "diagnoses",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("train_id", sa.String(), nullable=False),
        sa.Column("checkpoint", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.Column("probes", sa.JSON(), nullable=False),
        sa.Column("evaluations", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_diagnoses_job_id_jobs", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", name="pk_diagnoses"),
    )
    op.create_index("ix_diagnoses_train_id", "diagnoses", ["train_id"])


def downgrade() -> None:
    op.drop_table("diagnoses")
