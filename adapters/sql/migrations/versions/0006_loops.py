"""How variational loops ended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006_loops"
down_revision = "0005_earlier_answers"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A table for them."""
    op.create_table(
        "loops",
        sa.Column("loop_id", sa.String(192), nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("payload_hash", sa.String(64), nullable=False),
        sa.Column("opened", sa.DateTime(timezone=True), nullable=False),
        sa.Column("guarded", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(32)),
        sa.Column("closed", sa.DateTime(timezone=True)),
        sa.Column("forgotten", sa.DateTime(timezone=True)),
        sa.Column("result", sa.Text),
        sa.PrimaryKeyConstraint("loop_id", name="pk_loops"),
    )
    op.create_index("ix_loops_closed", "loops", ["closed"])
