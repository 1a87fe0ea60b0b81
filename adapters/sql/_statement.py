"""Reading the ledger: a tenant's statement, and whether the books close."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import Connection, func, select

from adapters.sql._accounts import Live, live_accounts
from adapters.sql._ledger_tables import (
    Account,
    accounts,
    decimal,
    entries,
    reservation,
    reservations,
    transfers,
)
from qsaga.core.errors import InvalidRequest
from qsaga.core.ledger import Books, Line, Reservation, Statement, Unit

_TOLD = 20
"""So many mismatches are put into words: who reads them looks into the tables anyway."""


def held(connection: Connection, tenant: str | None) -> tuple[Reservation, ...]:
    """All that are held now, oldest first."""
    query = select(reservations).where(reservations.c.state == "held")
    if tenant is not None:
        query = query.where(reservations.c.tenant == tenant)
    rows = connection.execute(query.order_by(reservations.c.at, reservations.c.key))
    return tuple(reservation(row) for row in rows)


def quantum_seconds(connection: Connection) -> dict[str, Decimal]:
    """What every job has spent, by job; one that has spent none is left out."""
    spent = reservations.c[Unit.QUANTUM_SECONDS.value]
    query = (
        select(reservations.c.job_id, func.sum(spent).label("spent"))
        .where(reservations.c.state == "settled", spent > 0)
        .group_by(reservations.c.job_id)
    )
    return {row.job_id: decimal(row.spent) for row in connection.execute(query)}


def statement(connection: Connection, tenant: str, at: datetime) -> Statement:
    """The tenant's account in the periods of ``at``.

    Raises:
        InvalidRequest: nobody has set the tenant up.
    """
    live = live_accounts(connection, tenant, at)
    if live.terms is None:
        raise InvalidRequest(
            "tenant", f"{tenant!r} is not known", "a tenant that an administrator has set up"
        )
    return Statement(
        tenant=live.terms,
        at=at,
        lines=tuple(_line(account) for account in _shown(live, live.terms.currency)),
        reservations=held(connection, tenant),
    )


def _shown(live: Live, currency: str) -> list[Account]:
    """Of every unit that has a budget or was used; money of other currencies behind his own."""
    shown: list[Account] = []
    for unit in Unit:
        own = live.of(unit, currency)
        others = sorted(place for place in live.found if place[0] is unit)
        shown += [own, *(live.found[place] for place in others if live.found[place] != own)]
    return [a for a in shown if a.allowance is not None or a.held or a.spent]


def _line(account: Account) -> Line:
    return Line(
        unit=account.unit,
        period=account.period,
        began=account.began,
        renews=account.ends,
        limit=None if account.allowance is None else decimal(account.allowance),
        held=decimal(account.held),
        spent=decimal(account.spent),
        left=None if account.left is None else decimal(account.left),
        currency=account.currency,
    )


def books(connection: Connection) -> Books:
    """Check the whole ledger against its entries and its reservations."""
    opened = {
        account.id: account
        for account in map(Account.of, (connection.execute(select(accounts))).all())
    }
    booked, strays = _booked(connection)
    reserved = _reserved(connection)
    sums: dict[str, int] = {}
    wrong = [f"transfer {number} has entries and no record" for number in strays]
    for (account_id, side), amount in booked.items():
        account = opened.get(account_id)
        if account is None:
            wrong.append(f"account {account_id} has entries ({side}) and no balance")
        name = "unknown" if account is None else f"{account.unit} {account.currency}".strip()
        sums[name] = sums.get(name, 0) + amount
    wrong += [
        f"account {account_id} has reservations ({side}) and no balance"
        for account_id, side in sorted(reserved)
        if account_id not in opened
    ]
    for account in opened.values():
        wrong += _mismatches(account, booked, reserved)
    wrong += _lopsided(connection)
    query = select(func.count()).where(reservations.c.state == "held")
    return Books(
        sums={name: decimal(total) for name, total in sorted(sums.items())},
        mismatches=tuple(wrong[:_TOLD]),
        held=connection.scalar(query) or 0,
    )


_SIDES = ("held", "spent")


def _booked(
    connection: Connection,
) -> tuple[dict[tuple[int, str], int], list[int]]:
    """The entries by account and side, and the transfers that are no more."""
    rows = connection.execute(
        select(entries.c.account_id, entries.c.side, func.sum(entries.c.amount).label("total"))
        .group_by(entries.c.account_id, entries.c.side)
        .order_by(entries.c.account_id, entries.c.side)
    )
    strays = connection.scalars(
        select(entries.c.transfer_id)
        .distinct()
        .select_from(entries.outerjoin(transfers, transfers.c.id == entries.c.transfer_id))
        .where(transfers.c.id.is_(None))
        .limit(_TOLD)
    )
    return {(row.account_id, row.side): int(row.total) for row in rows}, list(strays)


def _reserved(connection: Connection) -> dict[tuple[int, str], int]:
    """The reservations by account and side."""
    found: dict[tuple[int, str], int] = {}
    for unit in Unit:
        amount, booked_on = reservations.c[unit.value], reservations.c[f"{unit.value}_account"]
        rows = connection.execute(
            select(booked_on, reservations.c.state, func.sum(amount))
            .where(amount != 0)
            .group_by(booked_on, reservations.c.state)
        )
        for account_id, state, total in rows:
            side = "spent" if state == "settled" else "held"
            found[account_id, side] = found.get((account_id, side), 0) + int(total)
    return found


def _mismatches(
    account: Account,
    booked: dict[tuple[int, str], int],
    reserved: dict[tuple[int, str], int],
) -> list[str]:
    limit = account.allowance or 0
    balances = {
        "limit": -limit,
        "available": limit - account.held - account.spent,
        "held": account.held,
        "spent": account.spent,
    }
    name = f"{account.tenant} {account.unit} {account.currency}".rstrip()
    name += f" {account.period} {account.began:%Y-%m-%d}"
    return [
        f"{name}: {side} is {decimal(balance)}, its {what} sum to {decimal(total)}"
        for what, sums, sides in (
            ("entries", booked, tuple(balances)),
            ("reservations", reserved, _SIDES),
        )
        for side, balance, total in ((s, balances[s], sums.get((account.id, s), 0)) for s in sides)
        if balance != total
    ]


def _lopsided(connection: Connection) -> list[str]:
    """Transfers whose entries do not sum to zero: two wrong ones could make up for each other."""
    total = func.sum(entries.c.amount)
    rows = connection.execute(
        select(entries.c.transfer_id, accounts.c.unit, total)
        .select_from(entries.join(accounts, accounts.c.id == entries.c.account_id))
        .group_by(entries.c.transfer_id, accounts.c.unit, accounts.c.currency)
        .having(total != 0)
        .limit(_TOLD)
    )
    return [
        f"transfer {transfer}: its entries of {unit} sum to {decimal(amount)}"
        for transfer, unit, amount in rows
    ]
