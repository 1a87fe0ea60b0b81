"""Tenants: setting them up, and what a change of their budgets does to accounts under way."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, func, insert, select, update

from adapters.sql._accounts import live_accounts, open_accounts
from adapters.sql._ledger_tables import Account, accounts, plan, reservations, tenants
from adapters.sql._posting import Movement, balance, write
from qsaga.core.errors import InvalidRequest
from qsaga.core.ledger import Tenant, Unit


def tenant(connection: Connection, name: str) -> Tenant | None:
    """The tenant, or None if nobody has set him up."""
    terms = connection.scalar(_TERMS, {"this": name})
    return None if terms is None else Tenant.model_validate_json(terms)


_TERMS = select(tenants.c.terms).where(tenants.c.name == bindparam("this"))


def all_tenants(connection: Connection) -> tuple[Tenant, ...]:
    """All tenants, by name."""
    rows = connection.scalars(select(tenants.c.terms))
    # Sorted here: databases sort text by the rules of their locale.
    return tuple(sorted(map(Tenant.model_validate_json, rows), key=lambda found: found.name))


def put_tenant(connection: Connection, terms: Tenant, at: datetime) -> None:
    """Write the tenant and bring his accounts in line. Nobody else may book for him meanwhile.

    Raises:
        InvalidRequest: the currency changes while money is held or spent.
    """
    old = tenant(connection, terms.name)
    rows = connection.execute(select(accounts).where(accounts.c.tenant == terms.name))
    opened = [Account.of(row) for row in rows]
    if old is None:
        connection.execute(insert(tenants), {"name": terms.name, "terms": terms.model_dump_json()})
    else:
        _refuse_change_of_currency(old, terms, opened, at)
        connection.execute(
            update(tenants)
            .where(tenants.c.name == terms.name)
            .values(terms=terms.model_dump_json())
        )
    _grant(connection, terms, [a for a in opened if a.ends is None or a.ends > at], at)
    places = {(account.unit, account.currency) for account in opened}
    moved = [
        place for place in sorted(places) if plan(old, *place)[0] is not plan(terms, *place)[0]
    ]
    for unit, currency in moved:
        _carry_over(connection, terms.name, unit, currency, at)


def _refuse_change_of_currency(
    old: Tenant, new: Tenant, opened: list[Account], at: datetime
) -> None:
    for account in opened:
        if account.unit is not Unit.MONEY or account.currency != old.currency:
            continue
        under_way = account.began <= at and (account.ends is None or account.ends > at)
        if new.currency != old.currency and (account.held or (under_way and account.spent)):
            what = "held" if account.held else f"spent this {account.period.value}"
            raise InvalidRequest(
                "currency",
                f"{new.currency} cannot replace {old.currency} while money is {what}",
                old.currency,
            )


def _grant(connection: Connection, terms: Tenant, opened: list[Account], at: datetime) -> None:
    """Give the accounts the limits of the terms; those of a period that is no more, none."""
    grant = Movement("grant", terms.name, "", at)
    for account in opened:
        period, limit = plan(terms, account.unit, account.currency)
        allowance = limit if account.period is period else None
        if allowance == account.allowance:
            continue
        grant.limit[account.id] = (allowance or 0) - (account.allowance or 0)
        connection.execute(
            update(accounts).where(accounts.c.id == account.id).values(allowance=allowance)
        )
    write(connection, [grant])


def _carry_over(connection: Connection, name: str, unit: Unit, currency: str, at: datetime) -> None:
    """Move what was reserved since the unit's new period began onto the account of that period."""
    live = live_accounts(connection, name, at)
    open_accounts(connection, live, [(unit, currency)])
    target = live.of(unit, currency)
    amount, booked_on = reservations.c[unit.value], reservations.c[f"{unit.value}_account"]
    since = and_(
        accounts.c.tenant == name,
        accounts.c.unit == unit.value,
        accounts.c.currency == currency,
        accounts.c.id != target.id,
        reservations.c.at >= target.began,
    )
    rows = connection.execute(
        select(accounts.c.id, reservations.c.state, func.sum(amount).label("total"))
        .select_from(reservations.join(accounts, accounts.c.id == booked_on))
        .where(since)
        .group_by(accounts.c.id, reservations.c.state)
    )
    carry = Movement("carry", name, "", at)
    for row in rows.all():
        side = {"held": carry.held, "settled": carry.spent}.get(row.state)
        if side is not None and row.total:
            side[row.id] = -int(row.total)
            side[target.id] = side.get(target.id, 0) + int(row.total)
    # Those that were released move too: they may still be settled.
    connection.execute(
        update(reservations).where(booked_on == accounts.c.id, since).values({booked_on: target.id})
    )
    write(connection, [carry])
    balance(connection, [carry])
