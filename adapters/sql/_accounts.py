"""Which account an amount is booked on, and what is kept of a reservation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, String, bindparam, insert, select

from adapters.sql._engine import Moment
from adapters.sql._ledger_tables import Account, accounts, decimal, plan, reservations, tenants
from adapters.sql._posting import Movement, write
from qsaga.core.errors import KeyConflict
from qsaga.core.ledger import Shortage, Tenant, Unit


class Unopened(Exception):
    """Amounts are to be booked on accounts that nobody has opened yet."""

    def __init__(self, at: datetime, wanted: list[tuple[Unit, str]]) -> None:
        super().__init__(wanted)
        self.at, self.wanted = at, wanted


@dataclass
class Live:
    """The accounts of a tenant in the periods of ``at``; ``terms`` None if nobody set him up."""

    tenant: str
    terms: Tenant | None
    at: datetime
    found: dict[tuple[Unit, str], Account]

    def of(self, unit: Unit, currency: str) -> Account:
        """The account of a unit; its ``id`` is 0 while it is not opened."""
        currency = currency if unit is Unit.MONEY else ""
        if (unit, currency) in self.found:
            return self.found[unit, currency]
        period, limit = plan(self.terms, unit, currency)
        return Account(
            id=0,
            tenant=self.tenant,
            unit=unit,
            currency=currency,
            period=period,
            began=period.begin(self.at),
            ends=period.renews(self.at),
            allowance=limit,
            held=0,
            spent=0,
        )


def live_accounts(connection: Connection, tenant: str, at: datetime) -> Live:
    """What is booked on at this time, read in one round trip."""
    rows = connection.execute(_LIVE, {"tenant": tenant, "at": at}).all()
    terms = None if rows[0].terms is None else Tenant.model_validate_json(rows[0].terms)
    found = (Account.of(row) for row in rows if row.id is not None)
    return Live(
        tenant,
        terms,
        at,
        {
            (account.unit, account.currency): account
            for account in found
            if account.period is plan(terms, account.unit, account.currency)[0]
        },
    )


_ASKED = select(bindparam("tenant", type_=String).label("name")).subquery()
_AT = bindparam("at", type_=Moment)
_LIVE = select(tenants.c.terms, accounts).select_from(
    _ASKED.outerjoin(tenants, tenants.c.name == _ASKED.c.name).outerjoin(
        accounts,
        (accounts.c.tenant == _ASKED.c.name)
        & (accounts.c.began <= _AT)
        & (accounts.c.ends.is_(None) | (accounts.c.ends > _AT)),
    )
)


def open_accounts(connection: Connection, live: Live, wanted: Iterable[tuple[Unit, str]]) -> None:
    """Open those that are not, and grant them their limits."""
    grant = Movement("grant", live.tenant, "", live.at)
    for unit, currency in wanted:
        account = live.of(unit, currency)
        if account.id:
            continue
        made = connection.execute(
            insert(accounts).returning(accounts),
            {
                "tenant": live.tenant,
                "unit": unit.value,
                "currency": account.currency,
                "period": account.period.value,
                "began": account.began,
                "ends": account.ends,
                "allowance": account.allowance,
                "held": 0,
                "spent": 0,
            },
        )
        opened = Account.of(made.one())
        live.found[unit, account.currency] = opened
        grant.limit[opened.id] = opened.allowance or 0
    write(connection, [grant])


@dataclass
class Kept:
    """A reservation as the table keeps it: amounts in millionths, and their accounts."""

    key: str
    tenant: str
    job_id: str
    state: str
    currency: str
    at: datetime
    amounts: dict[Unit, int]
    booked_on: dict[Unit, int | None]

    @classmethod
    def of(cls, row: Row[Any]) -> Kept:
        """From its row."""
        return cls(
            key=row.key,
            tenant=row.tenant,
            job_id=row.job_id,
            state=row.state,
            currency=row.currency,
            at=row.at,
            amounts={unit: getattr(row, unit.value) for unit in Unit},
            booked_on={unit: getattr(row, f"{unit.value}_account") for unit in Unit},
        )

    @classmethod
    def nothing(cls, key: str, tenant: str, job_id: str, currency: str, at: datetime) -> Kept:
        """What stands under a key that was never held."""
        return cls(
            key=key,
            tenant=tenant,
            job_id=job_id,
            state="released",
            currency=currency,
            at=at,
            amounts=dict.fromkeys(Unit, 0),
            booked_on=dict.fromkeys(Unit),
        )

    def row(self) -> dict[str, Any]:
        """Its columns."""
        return {
            "key": self.key,
            "tenant": self.tenant,
            "job_id": self.job_id,
            "state": self.state,
            "currency": self.currency,
            "at": self.at,
            **{unit.value: self.amounts[unit] for unit in Unit},
            **{f"{unit.value}_account": self.booked_on[unit] for unit in Unit},
        }


def kept(
    connection: Connection, tenant: str, keys: Iterable[str], *, lock: bool = True
) -> dict[str, Kept]:
    """What the ledger has under the keys, by key.

    Args:
        connection: of the transaction.
        tenant: whose they must be.
        keys: in any order.
        lock: until the end of the transaction nobody else changes them.

    Raises:
        KeyConflict: a key is another tenant's.
    """
    rows = connection.execute(_KEPT_LOCKED if lock else _KEPT, {"keys": sorted(keys)}).all()
    for row in rows:
        if row.tenant != tenant:
            raise KeyConflict(f"reservation {row.key!r} is of another tenant than {tenant!r}")
    return {row.key: Kept.of(row) for row in rows}


_KEPT = (
    select(reservations)
    .where(reservations.c.key.in_(bindparam("keys", expanding=True)))
    .order_by(reservations.c.key)
)
_KEPT_LOCKED = _KEPT.with_for_update()


def movement(kind: str, at: datetime, was: Kept, now: Kept) -> Movement:
    """What a change of a reservation adds to ``held`` and to ``spent`` of its accounts."""
    made = Movement(kind, now.tenant, now.key, at)
    for sign, state in ((-1, was), (1, now)):
        side = {"held": made.held, "settled": made.spent}.get(state.state)
        for unit, amount in state.amounts.items():
            account = state.booked_on[unit]
            if side is not None and account is not None and amount:
                side[account] = side.get(account, 0) + sign * amount
    return made


def short(account: Account, wanted: int, has: int) -> Shortage | None:
    """Whether the account cannot give what is wanted.

    Args:
        account: to hold it on.
        wanted: in millionths.
        has: of it, what is held there already.
    """
    left = account.left
    if left is None or account.allowance is None or wanted - has <= max(left, 0):
        return None
    return Shortage(
        unit=account.unit,
        wanted=decimal(wanted),
        left=decimal(left + has),
        limit=decimal(account.allowance),
        period=account.period,
        renews=account.ends,
        currency=account.currency,
    )
