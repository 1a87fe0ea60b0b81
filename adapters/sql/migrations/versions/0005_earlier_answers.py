"""Earlier answers are found by their input."""

from __future__ import annotations

from alembic import op

revision = "0005_earlier_answers"
down_revision = "0004_submissions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Index the inputs."""
    op.create_index("ix_lineage_input_sha256", "lineage", ["input_sha256"])
