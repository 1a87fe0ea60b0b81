"""Tenants and the ledger: accounts, reservations, transfers and their entries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003_ledger"
down_revision = "0002_records"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UNITS = ("quantum_seconds", "money", "classical_seconds", "jobs")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "tenants",
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("terms", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_tenants"),
    )
    op.create_table(
        "ledger_accounts",
        sa.Column("id", _ID, nullable=False),
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("unit", sa.String(24), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("period", sa.String(8), nullable=False),
        sa.Column("began", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends", sa.DateTime(timezone=True)),
        sa.Column("allowance", sa.BigInteger),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("spent", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_accounts"),
        sa.UniqueConstraint(
            "tenant", "unit", "currency", "period", "began", name="uq_ledger_accounts"
        ),
        sa.CheckConstraint(
            "held >= 0 AND spent >= 0 AND held + spent <= 4000000000000000000",
            name="ck_ledger_accounts",
        ),
        postgresql_with={"fillfactor": 20},
    )
    op.create_table(
        "ledger_reservations",
        sa.Column("key", sa.String(256), nullable=False),
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("job_id", sa.String(192), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(unit, sa.BigInteger, nullable=False) for unit in _UNITS),
        *(sa.Column(f"{unit}_account", sa.BigInteger) for unit in _UNITS),
        sa.PrimaryKeyConstraint("key", name="pk_ledger_reservations"),
    )
    op.create_index("ix_ledger_reservations_job_id", "ledger_reservations", ["job_id"])
    op.create_index(
        "ix_ledger_reservations_held",
        "ledger_reservations",
        ["at"],
        postgresql_where=sa.text("state = 'held'"),
        sqlite_where=sa.text("state = 'held'"),
    )
    op.create_table(
        "ledger_transfers",
        sa.Column("id", _ID, nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("key", sa.String(256), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_transfers"),
    )
    op.create_table(
        "ledger_entries",
        sa.Column("transfer_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("account_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("side", sa.String(9), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("transfer_id", "account_id", "side", name="pk_ledger_entries"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop them, and all that they say."""
    for table in (
        "ledger_entries",
        "ledger_transfers",
        "ledger_reservations",
        "ledger_accounts",
        "tenants",
    ):
        op.drop_table(table)
