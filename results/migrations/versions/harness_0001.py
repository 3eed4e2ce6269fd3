"""Jobs with their trainings, epochs and evaluations."""

import sqlalchemy as sa
from alembic import op

revision = "harness_0001"
down_revision = None


def upgrade() -> None:
    _create_jobs()
    _create_trainings()
    _create_epochs()
    _create_evaluations()


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("dataset", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("threat_norm", sa.String(), nullable=False),
        sa.Column("threat_eps", sa.Double(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("finished", sa.String(), nullable=False),
        sa.Column("started", sa.String(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("device", sa.String(), nullable=True),
        sa.Column("versions", sa.JSON(), nullable=True),
        sa.Column("code", sa.String(), nullable=True),
        sa.Column("extra", sa.JSON(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("traceback", sa.Text(), nullable=True),
        sa.Column("log", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )


def _create_trainings() -> None:
    op.create_table(
        "trainings",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("best_epoch", sa.Integer(), nullable=False),
        sa.Column("total_epochs", sa.Integer(), nullable=False),
        sa.Column("images_per_second", sa.Double(), nullable=False),
        sa.Column("peak_memory", sa.BigInteger(), nullable=True),
        sa.Column("parameters", sa.BigInteger(), nullable=False),
        _belongs_to_job("trainings"),
        sa.PrimaryKeyConstraint("job_id", name="pk_trainings"),
    )


def _create_epochs() -> None:
    op.create_table(
        "epochs",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("lr", sa.Double(), nullable=False),
        sa.Column("loss", sa.Double(), nullable=False),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.Column("validation_natural", sa.Double(), nullable=True),
        sa.Column("validation_robust", sa.Double(), nullable=True),
        sa.Column("images_per_second", sa.Double(), nullable=True),
        sa.Column("peak_memory", sa.BigInteger(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        _belongs_to_job("epochs"),
        sa.PrimaryKeyConstraint("job_id", "epoch", name="pk_epochs"),
    )


def _create_evaluations() -> None:
    op.create_table(
        "evaluations",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("train_id", sa.String(), nullable=False),
        sa.Column("checkpoint", sa.String(), nullable=False),
        sa.Column("attack", sa.String(), nullable=False),
        sa.Column("attack_params", sa.JSON(), nullable=False),
        sa.Column("correct", sa.Integer(), nullable=False),
        sa.Column("examples", sa.Integer(), nullable=False),
        sa.Column("verdicts", sa.LargeBinary(), nullable=False),
        sa.Column("forwards", sa.BigInteger(), nullable=False),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("stages", sa.JSON(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        _belongs_to_job("evaluations"),
        sa.PrimaryKeyConstraint("job_id", name="pk_evaluations"),
    )
    op.create_index("ix_evaluations_train_id", "evaluations", ["train_id"])


def _belongs_to_job(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=f"fk_{table}_job_id_jobs", ondelete="CASCADE")


def downgrade() -> None:
    for table in ("evaluations", "epochs", "trainings", "jobs"):
        op.drop_table(table)
