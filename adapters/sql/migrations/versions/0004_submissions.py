"""What was sent under each tag, who waits to be told of it, what waits for a person; sessions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_submissions"
down_revision = "0003_ledger"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Widen the table of the runs.

    Of a run that is open nobody wrote down whether it has sent: it counts as having sent now, so
    that it looks for what it may have sent before it sends again.
    """
    for column in (
        sa.Column("sends", sa.Integer, nullable=False, server_default="0"),
        sa.Column("last_sent_at", sa.DateTime(timezone=True)),
        sa.Column("closed_by", sa.String(64)),
        sa.Column("watched", sa.Text),
        sa.Column("quarantined", sa.DateTime(timezone=True)),
        sa.Column("quarantine", sa.Text),
        sa.Column("resolution", sa.Text),
    ):
        op.add_column("runs", column)
    op.create_table(
        "provider_sessions",
        sa.Column("session_id", sa.String(64), nullable=False),
        sa.Column("job_id", sa.String(192), nullable=False),
        sa.Column("opened", sa.DateTime(timezone=True)),
        sa.Column("closed", sa.DateTime(timezone=True)),
        sa.Column("record", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("session_id", name="pk_provider_sessions"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.job_id"], name="fk_provider_sessions_job_id_jobs"
        ),
    )
    runs = sa.table(
        "runs",
        sa.column("settled", sa.Boolean),
        sa.column("sends", sa.Integer),
        sa.column("last_sent_at", sa.DateTime(timezone=True)),
    )
    op.execute(
        runs.update()
        .where(runs.c.settled.is_(sa.false()))
        .values(sends=1, last_sent_at=sa.func.current_timestamp())
    )
