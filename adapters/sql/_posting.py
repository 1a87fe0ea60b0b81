"""Movements: entries that sum to zero, and the balances that follow them.

What all jobs of a tenant contend for are the rows of his accounts. They are written last, in one
statement, so that they are locked for no longer than that statement and the commit.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ARRAY, BigInteger, Connection, String, bindparam, insert, text, update

from adapters.sql._engine import Moment
from adapters.sql._ledger_tables import accounts, entries, transfers


class Outbid(Exception):
    """Somebody else took what was left since we looked."""


@dataclass
class Movement:
    """One transfer: what it adds to the sides of which accounts, in millionths.

    ``limit`` is what is granted; it moves from the side ``limit`` to ``available``, and what is
    held or spent moves from ``available``.
    """

    kind: str
    tenant: str
    key: str
    at: datetime
    limit: dict[int, int] = field(default_factory=dict)
    held: dict[int, int] = field(default_factory=dict)
    spent: dict[int, int] = field(default_factory=dict)

    def entries(self) -> list[tuple[int, str, int]]:
        """Account, side and amount of each, without zeros."""
        found: list[tuple[int, str, int]] = []
        for account in sorted({*self.limit, *self.held, *self.spent}):
            limit = self.limit.get(account, 0)
            held, spent = self.held.get(account, 0), self.spent.get(account, 0)
            sides = {
                "limit": -limit,
                "available": limit - held - spent,
                "held": held,
                "spent": spent,
            }
            found += [(account, side, amount) for side, amount in sides.items() if amount]
        return found


def shut_out(connection: Connection, tenant: str, *, everybody: bool) -> None:
    """Until the end of the transaction no budget of the tenant changes.

    SQLite has one writer at a time anyway.

    Args:
        connection: of the transaction.
        tenant: whose.
        everybody: nobody else may book for the tenant either, for we change his accounts.
    """
    if connection.dialect.name == "postgresql":
        digest = hashlib.blake2b(tenant.encode(), digest_size=8, person=b"qsaga ledger").digest()
        connection.execute(
            _LOCK if everybody else _LOCK_SHARED, {"key": int.from_bytes(digest, signed=True)}
        )


_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_LOCK_SHARED = text("SELECT pg_advisory_xact_lock_shared(:key)")


def write(connection: Connection, movements: list[Movement]) -> None:
    """Write the transfers and their entries. One without entries leaves no trace."""
    for movement in movements:
        rows = movement.entries()
        if not rows:
            continue
        head = {
            "kind": movement.kind,
            "tenant": movement.tenant,
            "key": movement.key,
            "at": movement.at,
        }
        if connection.dialect.name == "postgresql":
            booked_on, sides, amounts = zip(*rows, strict=True)
            columns = {"a": list(booked_on), "s": list(sides), "m": list(amounts)}
            connection.execute(_TRANSFER, head | columns)
            continue
        transfer = connection.execute(_HEAD, head).scalar_one()
        connection.execute(
            _ENTRIES,
            [
                {"transfer_id": transfer, "account_id": account, "side": side, "amount": amount}
                for account, side, amount in rows
            ],
        )


_HEAD = insert(transfers).returning(transfers.c.id)
_ENTRIES = insert(entries)

# One round trip for a transfer and all of its entries.
_TRANSFER = text(
    """
    WITH transfer AS (
        INSERT INTO ledger_transfers (kind, tenant, key, at)
        VALUES (:kind, :tenant, :key, :at) RETURNING id
    )
    INSERT INTO ledger_entries (transfer_id, account_id, side, amount)
    SELECT transfer.id, entry.account, entry.side, entry.amount
    FROM transfer, unnest(:a, :s, :m) AS entry (account, side, amount)
    """
).bindparams(
    bindparam("kind", type_=String),
    bindparam("tenant", type_=String),
    bindparam("key", type_=String),
    bindparam("at", type_=Moment),
    bindparam("a", type_=ARRAY(BigInteger)),
    bindparam("s", type_=ARRAY(String)),
    bindparam("m", type_=ARRAY(BigInteger)),
)


def balance(
    connection: Connection, movements: list[Movement], *, within_limits: bool = False
) -> None:
    """Let the balances follow; the last statement before the commit.

    Args:
        connection: of the transaction.
        movements: as they were written.
        within_limits: what is added to an account must still be left there.

    Raises:
        Outbid: it is not; the transaction is to be rolled back.
    """
    touched = sorted({a for m in movements for a in (*m.held, *m.spent)})
    held = [sum(m.held.get(a, 0) for m in movements) for a in touched]
    spent = [sum(m.spent.get(a, 0) for m in movements) for a in touched]
    need = [h + s if within_limits else 0 for h, s in zip(held, spent, strict=True)]
    if not touched:
        return
    if connection.dialect.name == "postgresql":
        columns = {"a": touched, "h": held, "s": spent, "n": need}
        done = connection.execute(_BALANCE, columns)
    else:
        rows = zip(touched, held, spent, need, strict=True)
        done = connection.execute(
            _BALANCE_ONE, [{"a": a, "h": h, "s": s, "n": n} for a, h, s, n in rows]
        )
    if done.rowcount != len(touched):
        raise Outbid


# In the order of their numbers, so that two who lock the same accounts cannot lock each other out.
_BALANCE = text(
    """
    UPDATE ledger_accounts AS account
    SET held = account.held + change.held, spent = account.spent + change.spent
    FROM (
        SELECT locked.id, asked.held, asked.spent, asked.need
        FROM unnest(:a, :h, :s, :n) AS asked (id, held, spent, need)
        JOIN ledger_accounts AS locked ON locked.id = asked.id
        ORDER BY locked.id FOR UPDATE OF locked
    ) AS change
    WHERE account.id = change.id AND (
        change.need <= 0 OR account.allowance IS NULL
        OR account.allowance - account.held - account.spent >= change.need
    )
    """
).bindparams(*(bindparam(name, type_=ARRAY(BigInteger)) for name in "ahsn"))

_BALANCE_ONE = (
    update(accounts)
    .where(
        accounts.c.id == bindparam("a"),
        (bindparam("n", type_=BigInteger) <= 0)
        | accounts.c.allowance.is_(None)
        | (accounts.c.allowance - accounts.c.held - accounts.c.spent >= bindparam("n")),
    )
    .values(held=accounts.c.held + bindparam("h"), spent=accounts.c.spent + bindparam("s"))
)
