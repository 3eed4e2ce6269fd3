"""Features of test images: distances under attack, and a map."""

import sqlalchemy as sa
from alembic import op

revision = "harness_0005"
down_revision = "harness_0004"


def upgrade() -> None:
    op.create_table(
        "features",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("train_id", sa.String(), nullable=False),
        sa.Column("checkpoint", sa.String(), nullable=False),
        sa.Column("embedding", sa.String(), nullable=False),
        sa.Column("arrays", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_features_job_id_jobs", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", name="pk_features"),
    )
    op.create_index("ix_features_train_id", "features", ["train_id"])


def downgrade() -> None:
    op.drop_table("features")
