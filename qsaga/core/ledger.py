"""Budgets: what tenants may use in each period, what is held for jobs, what was spent.

Amounts are exact decimals with six places (microseconds of quantum or classical time,
millionths of a currency unit). Every movement is double entry: what one account loses another
gains, so that the sum over all accounts of a unit is zero at any time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import Annotated, Literal, Protocol

from pydantic import Field, StringConstraints

from qsaga.core.approval import Ceiling
from qsaga.core.contract import Contract, Slug, StrictContract
from qsaga.core.results import Cost

PLACES = Decimal("0.000001")

Amount = Annotated[Decimal, Field(ge=0, le=10**12, allow_inf_nan=False)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


class Unit(StrEnum):
    """What is counted. ``JOBS`` are those at work at the same time; the others are used up."""

    QUANTUM_SECONDS = "quantum_seconds"
    MONEY = "money"
    CLASSICAL_SECONDS = "classical_seconds"
    JOBS = "jobs"


class Period(StrEnum):
    """After which a budget renews. In UTC; a week begins on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"
    EVER = "ever"

    @property
    def words(self) -> str:
        """For people: during which time."""
        return "in all" if self is Period.EVER else f"this {self.value}"

    def begin(self, at: datetime) -> datetime:
        """The start of the period that ``at`` lies in."""
        day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        match self:
            case Period.DAY:
                return day
            case Period.WEEK:
                return day - timedelta(days=day.weekday())
            case Period.MONTH:
                return day.replace(day=1)
            case Period.YEAR:
                return day.replace(month=1, day=1)
            case Period.EVER:
                return datetime(1970, 1, 1, tzinfo=UTC)

    def renews(self, at: datetime) -> datetime | None:
        """The start of the next period; None if there is none."""
        start = self.begin(at)
        match self:
            case Period.DAY:
                return start + timedelta(days=1)
            case Period.WEEK:
                return start + timedelta(days=7)
            case Period.MONTH:
                return (start + timedelta(days=32)).replace(day=1)
            case Period.YEAR:
                return start.replace(year=start.year + 1)
            case Period.EVER:
                return None


class Amounts(Contract):
    """One amount for each unit; zero where nothing is meant."""

    quantum_seconds: Amount = Decimal(0)
    money: Amount = Decimal(0)
    classical_seconds: Amount = Decimal(0)
    jobs: Amount = Decimal(0)

    @classmethod
    def most(cls, ceiling: Ceiling) -> Amounts:
        """What a hardware run may be charged."""
        return cls(quantum_seconds=Decimal(str(ceiling.quantum_seconds)), money=ceiling.money)

    @classmethod
    def hardware(cls, cost: Cost) -> Amounts:
        """What hardware was charged."""
        return cls(quantum_seconds=Decimal(str(cost.quantum_seconds)), money=cost.money)

    @classmethod
    def classical(cls, cost: Cost) -> Amounts:
        """What was computed here."""
        return cls(classical_seconds=Decimal(str(cost.classical_seconds)))

    def of(self, unit: Unit) -> Decimal:
        """The amount of a unit, to six places."""
        value: Decimal = getattr(self, unit.value)
        return value.quantize(PLACES, rounding=ROUND_HALF_EVEN)


class Budget(StrictContract):
    """How much of a unit a tenant may use in each period."""

    limit: Amount
    period: Period = Period.MONTH


class Tenant(StrictContract):
    """A tenant and his budgets.

    Args:
        name: as jobs name him.
        currency: of his money budget; prices in another one refuse him the hardware.
        quantum_seconds: that providers may charge; None is no limit.
        money: that his jobs may cost; None is no limit.
        classical_seconds: of solvers and simulators; None is no limit.
        jobs: at work at the same time; None is no limit.
        when_spent: what happens to a job that hardware could answer when nothing is left for
            it: ``refuse`` ends it, ``fallback`` lets the rest of its ladder answer.
        identity_required: his jobs are started by verified callers only.
        retention_days: after which his jobs' records are deleted; None keeps them.
    """

    name: Slug
    currency: Currency = "USD"
    quantum_seconds: Budget | None = None
    money: Budget | None = None
    classical_seconds: Budget | None = None
    jobs: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    when_spent: Literal["refuse", "fallback"] = "refuse"
    identity_required: bool = False
    retention_days: Annotated[int, Field(ge=1, le=36500)] | None = None

    def budget(self, unit: Unit) -> Budget | None:
        """The budget of a unit; None is no limit."""
        if unit is Unit.JOBS:
            if self.jobs is None:
                return None
            return Budget(limit=Decimal(self.jobs), period=Period.EVER)
        found: Budget | None = getattr(self, unit.value)
        return found


class Hold(Contract):
    """What is to be held under one key.

    Args:
        key: idempotency key; the job's id, or the tag of a hardware submission.
        amounts: the most that may be used.
        currency: of the money.
    """

    key: str
    amounts: Amounts
    currency: Currency = "USD"


def hold_key(name: str, account: str) -> str:
    """The key of a reservation: of a job (its id) or of a hardware run (its tag)."""
    return f"{name}#{account}"


class Reservation(Contract):
    """What the ledger knows under one key.

    ``held`` is what is set aside now (zero once it is settled or released), ``spent`` what was
    used in the end.
    """

    key: str
    tenant: str
    job_id: str
    state: Literal["held", "settled", "released"]
    held: Amounts = Amounts()
    spent: Amounts = Amounts()
    currency: Currency = "USD"
    at: datetime

    @property
    def owner(self) -> str:
        """What it is held for: the name that ``hold_key`` was given."""
        return self.key.partition("#")[0]


class Shortage(Contract):
    """What is left of a unit that does not suffice."""

    unit: Unit
    wanted: Decimal
    left: Decimal
    limit: Decimal
    period: Period
    renews: datetime | None
    currency: str = ""

    def text(self, tenant: str) -> str:
        """For people: what is left and when it renews."""
        if self.unit is Unit.JOBS:
            return (
                f"tenant {tenant!r} has {self.limit - self.left:f} of {self.limit:f} jobs at work "
                "(allowed: wait until one ends)"
            )
        name = f"{self.currency}" if self.unit is Unit.MONEY else self.unit.value.replace("_", " ")
        until = (
            f"renews {self.renews:%Y-%m-%d %H:%M} UTC"
            if self.renews is not None
            else "does not renew"
        )
        return (
            f"{_short(self.wanted)} {name} wanted, tenant {tenant!r} has {_short(self.left)} of "
            f"{_short(self.limit)} left {self.period.words} ({until})"
        )


def _short(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


class Line(Contract):
    """One unit of a tenant's statement. ``limit`` and ``left`` None are no limit."""

    unit: Unit
    period: Period
    began: datetime
    renews: datetime | None
    limit: Decimal | None
    held: Decimal
    spent: Decimal
    left: Decimal | None
    currency: str = ""

    def text(self) -> str:
        """For people: what is left, of how much, and until when."""
        name = self.currency if self.unit is Unit.MONEY else self.unit.value.replace("_", " ")
        if self.limit is None or self.left is None:
            return f"{_short(self.spent)} {name} used, no limit"
        until = f" until {self.renews:%Y-%m-%d}" if self.renews else ""
        return f"{_short(self.left)} of {_short(self.limit)} {name} left{until}"


class Statement(Contract):
    """What a tenant may use, has set aside and has used, in the periods of ``at``."""

    tenant: Tenant
    at: datetime
    lines: tuple[Line, ...]
    reservations: tuple[Reservation, ...] = ()


class Books(Contract):
    """The whole ledger, checked.

    Args:
        sums: of all entries by unit (money by currency); zero where the books close.
        mismatches: accounts whose balance is not the sum of their entries, in words.
        held: number of reservations that are still held.
    """

    sums: dict[str, Decimal]
    mismatches: tuple[str, ...] = ()
    held: int = 0

    @property
    def closed(self) -> bool:
        """Whether every sum is zero and every balance is that of its entries."""
        return not self.mismatches and not any(self.sums.values())


class Ledger(Protocol):
    """The books. Every call is one transaction and safe to repeat."""

    async def tenant(self, name: str) -> Tenant | None:
        """The tenant, or None if nobody has set him up."""

    async def put_tenant(self, tenant: Tenant, at: datetime) -> None:
        """Set a tenant up or change him; budgets of the periods under way change at once.

        Raises InvalidRequest when the currency changes while money is held.
        """

    async def tenants(self) -> tuple[Tenant, ...]:
        """All tenants, by name."""

    async def reserve(
        self, tenant: str, job_id: str, holds: tuple[Hold, ...], at: datetime
    ) -> tuple[Shortage, ...]:
        """Hold all of it, or nothing and say what is short.

        A key that is held already is changed to the new amounts; one that was settled or
        released stays as it is, so that a repeat that comes late holds nothing. A tenant whom
        nobody has set up has no limits. Amounts are held in the periods of ``at``.

        Raises InvalidRequest: a hold is in another currency than the tenant's.
        """

    async def shortages(
        self, tenant: str, holds: tuple[Hold, ...], at: datetime
    ) -> tuple[Shortage, ...]:
        """What ``reserve`` would say; nothing is held."""

    async def settle(
        self,
        key: str,
        spent: Amounts,
        at: datetime,
        *,
        tenant: str,
        job_id: str,
        currency: Currency = "USD",
        unused: tuple[str, ...] = (),
    ) -> None:
        """Book what was used and give the rest back. What exceeds the hold is booked too.

        A key that was never held is booked all the same; one that was settled is changed to the
        new amounts; one that was released is settled. Keys that were ``unused`` are released
        together with it.
        """

    async def release(
        self, keys: tuple[str, ...], at: datetime, *, tenant: str, job_id: str
    ) -> None:
        """Give back what is held under the keys.

        A key that was never held is marked as released, so that nobody can hold it any more; one
        that was settled stays.
        """

    async def reservations(self, job_id: str) -> tuple[Reservation, ...]:
        """All of a job, by key."""

    async def quantum_seconds(self) -> dict[str, Decimal]:
        """What every job has spent, by job; one that has spent none is left out."""

    async def held(self, tenant: str | None = None) -> tuple[Reservation, ...]:
        """All that are held now, oldest first."""

    async def statement(self, tenant: str, at: datetime) -> Statement:
        """The tenant's account now. Raises InvalidRequest for an unknown one."""

    async def books(self) -> Books:
        """Check the whole ledger."""
