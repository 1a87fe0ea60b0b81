"""The four tables of the first release, which made them without Alembic.

Where they are there already, they are adopted as they are.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001_first"
down_revision = None
branch_labels = None
depends_on = None

_MONEY = sa.Numeric().with_variant(sa.String(), "sqlite")


def upgrade() -> None:
    """Make what is missing."""
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.String(192), nullable=False),
        sa.Column("payload_hash", sa.String(64), nullable=False),
        sa.Column("opened", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(32)),
        sa.Column("result", sa.Text),
        sa.PrimaryKeyConstraint("job_id", name="pk_jobs"),
        if_not_exists=True,
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(128), nullable=False),
        sa.Column("job_id", sa.String(192), nullable=False),
        sa.Column("settled", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name="fk_runs_job_id"),
        if_not_exists=True,
    )
    op.create_table(
        "charges",
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("provider_job_id", sa.String(128), nullable=False),
        sa.Column("job_id", sa.String(192), nullable=False),
        sa.Column("run_id", sa.String(128), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("backend", sa.String(128), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("quantum_seconds", sa.Float, nullable=False),
        sa.Column("money", _MONEY, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("classical_seconds", sa.Float, nullable=False),
        sa.Column("settled", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("provider", "provider_job_id", name="pk_charges"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name="fk_charges_job_id"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_charges_run_id"),
        if_not_exists=True,
    )
    op.create_table(
        "late_results",
        sa.Column("run_id", sa.String(128), nullable=False),
        sa.Column("job_id", sa.String(192), nullable=False),
        sa.Column("late", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_late_results"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name="fk_late_results_job_id"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_late_results_run_id"),
        if_not_exists=True,
    )
    for table, column in (
        ("runs", "job_id"),
        ("charges", "job_id"),
        ("charges", "run_id"),
        ("late_results", "job_id"),
    ):
        op.create_index(f"ix_{table}_{column}", table, [column], if_not_exists=True)
