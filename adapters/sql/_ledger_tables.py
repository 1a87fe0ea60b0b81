"""The tables of the ledger.

Amounts are whole millionths. An account is one tenant's use of one unit in one period, with four
sides: ``limit`` (minus what was granted), ``available``, ``held`` and ``spent``. The row of an
account has its balances; the entries of all transfers add up to them.

Nothing here refers to an account by foreign key: PostgreSQL would lock its row for every entry,
and that row is the one that all jobs of a tenant meet at. ``books()`` looks for strays instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from adapters.sql._engine import Moment, metadata
from qsaga.core.errors import InvalidRequest
from qsaga.core.ledger import PLACES, Amounts, Period, Reservation, Tenant, Unit

MILLION = 1_000_000
LARGEST = 4 * 10**18
"""No account may hold and have spent more: eight-byte integers end at 9.2 · 10^18."""

_Id = BigInteger().with_variant(Integer, "sqlite")  # the type that SQLite numbers by itself

tenants = Table(
    "tenants",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("terms", Text, nullable=False),
)

accounts = Table(
    "ledger_accounts",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("tenant", String(63), nullable=False),
    Column("unit", String(24), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("period", String(8), nullable=False),
    Column("began", Moment, nullable=False),
    Column("ends", Moment),
    Column("allowance", BigInteger),
    Column("held", BigInteger, nullable=False),
    Column("spent", BigInteger, nullable=False),
    UniqueConstraint("tenant", "unit", "currency", "period", "began", name="uq_ledger_accounts"),
    CheckConstraint(
        f"held >= 0 AND spent >= 0 AND held + spent <= {LARGEST}", name="ck_ledger_accounts"
    ),
    # Room on the page for the next version of a row that changes with every job.
    postgresql_with={"fillfactor": 20},
)

reservations = Table(
    "ledger_reservations",
    metadata,
    Column("key", String(256), primary_key=True),
    Column("tenant", String(63), nullable=False),
    Column("job_id", String(192), nullable=False, index=True),
    Column("state", String(8), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("at", Moment, nullable=False),
    # Of each unit what is held, or was spent, as ``state`` says; and the account it is booked on.
    *(Column(unit.value, BigInteger, nullable=False) for unit in Unit),
    *(Column(f"{unit.value}_account", BigInteger) for unit in Unit),
)
Index(
    "ix_ledger_reservations_held",
    reservations.c.at,
    postgresql_where=reservations.c.state == "held",
    sqlite_where=reservations.c.state == "held",
)

transfers = Table(
    "ledger_transfers",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("tenant", String(63), nullable=False),
    Column("key", String(256), nullable=False),
    Column("at", Moment, nullable=False),
)

entries = Table(
    "ledger_entries",
    metadata,
    Column("transfer_id", BigInteger, primary_key=True, autoincrement=False),
    Column("account_id", BigInteger, primary_key=True, autoincrement=False),
    Column("side", String(9), primary_key=True),
    Column("amount", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)


def millionths(value: Decimal) -> int:
    """An amount as the tables keep it."""
    return int(value.quantize(PLACES) * MILLION)


def decimal(value: int | Decimal | None) -> Decimal:
    """An amount as the contracts carry it. PostgreSQL adds integers up to decimals."""
    return Decimal(int(value or 0)) / MILLION


def aware(at: datetime) -> datetime:
    """The time in UTC.

    Raises:
        InvalidRequest: it has no time zone.
    """
    if at.tzinfo is None or at.utcoffset() is None:
        raise InvalidRequest("at", f"{at} has no time zone", "a time with a zone")
    return at.astimezone(UTC)


@dataclass(frozen=True)
class Account:
    """One tenant's use of one unit in one period, in millionths.

    ``allowance`` None is no limit.
    """

    id: int
    tenant: str
    unit: Unit
    currency: str
    period: Period
    began: datetime
    ends: datetime | None
    allowance: int | None
    held: int
    spent: int

    @classmethod
    def of(cls, row: Row[Any]) -> Account:
        """From a row that has the columns of the table."""
        return cls(
            id=row.id,
            tenant=row.tenant,
            unit=Unit(row.unit),
            currency=row.currency,
            period=Period(row.period),
            began=row.began,
            ends=row.ends,
            allowance=row.allowance,
            held=row.held,
            spent=row.spent,
        )

    @property
    def left(self) -> int | None:
        """What may still be held; below zero where more was used than granted."""
        return None if self.allowance is None else self.allowance - self.held - self.spent


def plan(tenant: Tenant | None, unit: Unit, currency: str) -> tuple[Period, int | None]:
    """The period that a unit is counted in, and its limit there (None is none).

    Args:
        tenant: None if nobody has set him up.
        currency: of the money in question; the budget is for the tenant's only.
    """
    unlimited = Period.EVER if unit is Unit.JOBS else Period.MONTH
    budget = tenant.budget(unit) if tenant is not None else None
    if tenant is None or budget is None:
        return unlimited, None
    if unit is Unit.MONEY and currency != tenant.currency:
        return budget.period, None
    return budget.period, millionths(budget.limit)


def reservation(row: Row[Any]) -> Reservation:
    """What the ledger knows under one key."""
    amounts = Amounts(**{unit.value: decimal(getattr(row, unit.value)) for unit in Unit})
    nothing = Amounts(**{unit.value: decimal(0) for unit in Unit})
    return Reservation(
        key=row.key,
        tenant=row.tenant,
        job_id=row.job_id,
        state=row.state,
        held=amounts if row.state == "held" else nothing,
        spent=amounts if row.state == "settled" else nothing,
        currency=row.currency,
        at=row.at,
    )
