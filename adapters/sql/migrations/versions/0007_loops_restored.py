"""Of a loop that was written down again it is not known whether it was guarded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007_loops_restored"
down_revision = "0006_loops"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Allow that."""
    with op.batch_alter_table("loops") as table:
        table.alter_column("guarded", existing_type=sa.Boolean(), nullable=True)
