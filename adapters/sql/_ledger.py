"""The books behind the port ``Ledger``: SQLite, or PostgreSQL by its engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

import psycopg
from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql import _statement, _tenants
from adapters.sql._accounts import (
    Kept,
    Live,
    Unopened,
    kept,
    live_accounts,
    movement,
    open_accounts,
    short,
)
from adapters.sql._ledger_tables import Account, aware, millionths, reservation, reservations
from adapters.sql._posting import Outbid, balance, shut_out, to_the_commit, write
from adapters.sql._writer import Writer
from qsaga.core.errors import InvalidRequest
from qsaga.core.ledger import (
    Amounts,
    Books,
    Currency,
    Hold,
    Reservation,
    Shortage,
    Statement,
    Tenant,
    Unit,
)

Result = TypeVar("Result")
Change = tuple[Kept | None, Kept]
"""What is under a key, if anything is, and what it becomes."""

_LOST_RACES = frozenset({"23505", "40001", "40P01"})
"""PostgreSQL: the same key came in between, or two transactions were in each other's way."""

_TRIES = 10


class SqlLedger:
    """Budgets and reservations in a database whose tables exist.

    A reservation is charged to the period in which it was made, also when it is settled later.
    One whose hold is changed stays there unless an amount grows: then it is held anew, in the
    periods of the change. What is held of ``JOBS`` is given back in the end and never spent.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._writer = Writer.of(engine)

    async def tenant(self, name: str) -> Tenant | None:
        """The tenant, or None if nobody has set him up."""
        return await self._read(lambda connection: _tenants.tenant(connection, name))

    async def tenants(self) -> tuple[Tenant, ...]:
        """All tenants, by name."""
        return await self._read(_tenants.all_tenants)

    async def put_tenant(self, tenant: Tenant, at: datetime) -> None:
        """Set a tenant up or change him; budgets of the periods under way change at once.

        Where a budget now renews in another period, what was reserved since that period began
        counts in it.

        Raises:
            InvalidRequest: the currency changes while money is held, or was spent in the period
                under way.
        """
        at = aware(at)

        def work(connection: Connection) -> None:
            _tenants.put_tenant(connection, tenant, at)

        await self._book(tenant.name, work, everybody=True)

    async def reserve(
        self, tenant: str, job_id: str, holds: tuple[Hold, ...], at: datetime
    ) -> tuple[Shortage, ...]:
        """Hold all of it, or nothing and say what is short.

        Under a key that was settled or released nothing is held, and nothing is short:
        ``reservations`` shows how the key stands. A shortage leaves a key that is held as it was.

        Raises:
            InvalidRequest: money in another currency than the tenant's, a key that is there
                twice, or a time without a zone.
            KeyConflict: a key is another tenant's.
        """
        at = aware(at)

        def work(connection: Connection) -> tuple[Shortage, ...]:
            live, changes, shortages = _weigh(connection, tenant, job_id, holds, at)
            if not shortages:
                _carry_out(connection, live, changes, within_limits=True)
            return shortages

        return await self._book(tenant, work)

    async def shortages(
        self, tenant: str, holds: tuple[Hold, ...], at: datetime
    ) -> tuple[Shortage, ...]:
        """What ``reserve`` would say; nothing is held."""
        at = aware(at)
        return await self._read(lambda c: _weigh(c, tenant, "", holds, at, lock=False)[2])

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

        Keys that were ``unused`` are released in the same transaction.

        Raises:
            InvalidRequest: a time without a zone.
            KeyConflict: a key is another tenant's.
        """
        at = aware(at)
        amounts = {unit: millionths(spent.of(unit)) for unit in Unit} | {Unit.JOBS: 0}

        def work(connection: Connection) -> None:
            known = kept(connection, tenant, {key, *unused})
            was = known.get(key)
            old = was or Kept.nothing(key, tenant, job_id, currency, at)
            now = replace(
                old,
                state="settled",
                currency=currency if amounts[Unit.MONEY] else old.currency,
                amounts=amounts,
                booked_on=dict(old.booked_on),
            )
            moved = {
                unit
                for unit in Unit
                if amounts[unit]
                and (
                    old.booked_on[unit] is None
                    or (unit is Unit.MONEY and now.currency != old.currency)
                )
            }
            live = None
            if moved:
                live = live_accounts(connection, tenant, old.at)
                for unit in moved:
                    now.booked_on[unit] = live.of(unit, now.currency).id
            changes = [(was, now), *_released(known, {*unused} - {key}, tenant, job_id, at)]
            _carry_out(connection, live, changes, at=at)

        await self._book(tenant, work)

    async def release(
        self, keys: tuple[str, ...], at: datetime, *, tenant: str, job_id: str
    ) -> None:
        """Give back what is held under the keys; one that was never held can be held no more.

        Raises:
            InvalidRequest: a time without a zone.
            KeyConflict: a key is another tenant's.
        """
        at = aware(at)

        def work(connection: Connection) -> None:
            known = kept(connection, tenant, keys)
            _carry_out(connection, None, _released(known, {*keys}, tenant, job_id, at), at=at)

        await self._book(tenant, work)

    async def reservations(self, job_id: str) -> tuple[Reservation, ...]:
        """All of a job, by key."""
        query = select(reservations).where(reservations.c.job_id == job_id)
        query = query.order_by(reservations.c.key)
        return await self._read(lambda c: tuple(reservation(row) for row in c.execute(query)))

    async def quantum_seconds(self) -> dict[str, Decimal]:
        """What every job has spent, by job; one that has spent none is left out."""
        return await self._read(_statement.quantum_seconds)

    async def held(self, tenant: str | None = None) -> tuple[Reservation, ...]:
        """All that are held now, oldest first."""
        return await self._read(lambda connection: _statement.held(connection, tenant))

    async def statement(self, tenant: str, at: datetime) -> Statement:
        """The tenant's account in the periods of ``at``.

        Raises:
            InvalidRequest: nobody has set the tenant up.
        """
        at = aware(at)
        return await self._read(lambda connection: _statement.statement(connection, tenant, at))

    async def books(self) -> Books:
        """Check the whole ledger; reads all of it."""
        return await self._read(_statement.books)

    async def _read(self, work: Callable[[Connection], Result]) -> Result:
        return await self._writer.read(work)

    async def _book(
        self,
        tenant: str,
        work: Callable[[Connection], Result],
        *,
        everybody: bool = False,
    ) -> Result:
        """Do the work in a transaction; once more where somebody else was in its way."""

        def alone(connection: Connection) -> Result:
            shut_out(connection, tenant, everybody=everybody)
            return work(connection)

        failures = 0
        while True:
            try:
                return await self._writer.write(alone)
            except Outbid:
                continue
            except Unopened as missing:
                await self._open(tenant, missing)
            except (DBAPIError, psycopg.Error) as error:
                failures += 1
                if failures == _TRIES or not _passes(error):
                    raise

    async def _open(self, tenant: str, missing: Unopened) -> None:
        # A transaction of its own: it keeps everybody else out, which the others need not do.
        def work(connection: Connection) -> None:
            live = live_accounts(connection, tenant, missing.at)
            open_accounts(connection, live, missing.wanted)

        await self._book(tenant, work, everybody=True)


def _passes(error: DBAPIError | psycopg.Error) -> bool:
    """Whether the same transaction may succeed now."""
    if isinstance(error, DBAPIError):
        # Of a connection that broke: whether its transaction was committed does not matter, for
        # every call may be repeated.
        return error.connection_invalidated or getattr(error.orig, "sqlstate", "") in _LOST_RACES
    return error.sqlstate in _LOST_RACES or isinstance(error, psycopg.OperationalError)


def _weigh(
    connection: Connection,
    tenant: str,
    job_id: str,
    holds: tuple[Hold, ...],
    at: datetime,
    *,
    lock: bool = True,
) -> tuple[Live, list[Change], tuple[Shortage, ...]]:
    """The accounts now, what the holds change, and what is short for it."""
    holds = _sorted(holds)
    live = live_accounts(connection, tenant, at)
    _refuse_foreign_money(live.terms, holds)
    known = kept(connection, tenant, [hold.key for hold in holds], lock=lock)
    changes: list[Change] = []
    sums: dict[tuple[Unit, str], tuple[Account, int, int]] = {}
    for hold in holds:
        was = known.get(hold.key)
        if was is not None and was.state != "held":
            continue
        old = was or Kept.nothing(hold.key, tenant, job_id, hold.currency, at)
        now = _changed(old, hold, live)
        changes.append((was, now))
        for unit in Unit:
            account = live.of(unit, now.currency)
            if account.id == now.booked_on[unit]:
                _, wanted, has = sums.get((unit, account.currency), (account, 0, 0))
                had = old.amounts[unit] if old.booked_on[unit] == account.id else 0
                sums[unit, account.currency] = (account, wanted + now.amounts[unit], has + had)
    found = (short(*sums[place]) for place in sorted(sums, key=lambda at: list(Unit).index(at[0])))
    return live, changes, tuple(shortage for shortage in found if shortage is not None)


def _changed(old: Kept, hold: Hold, live: Live) -> Kept:
    """The reservation as the hold wants it: in its periods if nothing grows, else in those now."""
    amounts = {unit: millionths(hold.amounts.of(unit)) for unit in Unit}
    currency = hold.currency if amounts[Unit.MONEY] else old.currency
    grows = any(amounts[unit] > old.amounts[unit] for unit in Unit)
    if old.state == "held" and not grows and currency == old.currency:
        return replace(old, amounts=amounts)
    return replace(
        old,
        state="held",
        at=live.at,
        currency=currency,
        amounts=amounts,
        booked_on={
            unit: live.of(unit, currency).id if amount else None for unit, amount in amounts.items()
        },
    )


def _released(
    known: Mapping[str, Kept], keys: Collection[str], tenant: str, job_id: str, at: datetime
) -> list[Change]:
    """What gives back all that is held under the keys; what was never held can be held no more."""
    nothing = dict.fromkeys(Unit, 0)
    return [
        (was, replace(was, state="released", amounts=nothing))
        if (was := known.get(key))
        else (None, Kept.nothing(key, tenant, job_id, "USD", at))
        for key in sorted(keys)
        if key not in known or known[key].state == "held"
    ]


def _carry_out(
    connection: Connection,
    live: Live | None,
    changes: list[Change],
    *,
    at: datetime | None = None,
    within_limits: bool = False,
) -> None:
    """Write the reservations that change, their transfers, and at last the balances; commit."""
    changes = [(was, now) for was, now in changes if was != now]
    if live is not None:
        # A number of 0 is that of an account that is not opened.
        unopened = [
            (unit, now.currency) for _, now in changes for unit in Unit if now.booked_on[unit] == 0
        ]
        if unopened:
            raise Unopened(live.at, unopened)
    new = [now.row() for was, now in changes if was is None]
    changed = [now.row() for was, now in changes if was is not None]
    movements = [
        movement(_KINDS[now.state], at or now.at, was or replace(now, state="released"), now)
        for was, now in changes
    ]
    with to_the_commit(connection):
        if new:
            connection.execute(_NEW, new)
        if changed:
            connection.execute(_CHANGE, [row | {"this": row["key"]} for row in changed])
        write(connection, movements)
        balance(connection, movements, within_limits=within_limits)


_KINDS = {"held": "reserve", "settled": "settle", "released": "release"}
_NEW = insert(reservations)
_CHANGE = update(reservations).where(reservations.c.key == bindparam("this"))


def _sorted(holds: tuple[Hold, ...]) -> tuple[Hold, ...]:
    """By key, so that two who reserve the same keys cannot lock each other out."""
    keys = [hold.key for hold in holds]
    for index, key in enumerate(keys):
        if key in keys[:index]:
            raise InvalidRequest(f"holds.{index}.key", f"{key!r} is there twice", "each key once")
    return tuple(sorted(holds, key=lambda hold: hold.key))


def _refuse_foreign_money(tenant: Tenant | None, holds: tuple[Hold, ...]) -> None:
    for hold in holds:
        if tenant is not None and hold.amounts.money and hold.currency != tenant.currency:
            raise InvalidRequest(
                "budgets.currency",
                f"{hold.currency} is not the currency of tenant {tenant.name!r}",
                tenant.currency,
            )
