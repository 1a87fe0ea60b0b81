"""Movements: entries that sum to zero, and the balances that follow them.

What all jobs of a tenant contend for are the rows of his accounts. They are written last, in one
statement, and PostgreSQL is told to commit in the same breath: they are locked while it does so,
and not until this process, or the network, finds time to ask for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
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
    if _is_postgresql(connection):
        digest = hashlib.blake2b(tenant.encode(), digest_size=8, person=b"qsaga ledger").digest()
        # Beginning the transaction and locking are one trip to the server.
        with _driver(connection).pipeline():
            connection.execute(
                _LOCK if everybody else _LOCK_SHARED, {"key": int.from_bytes(digest, signed=True)}
            )


_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_LOCK_SHARED = text("SELECT pg_advisory_xact_lock_shared(:key)")


@contextmanager
def to_the_commit(connection: Connection) -> Iterator[None]:
    """The last statements of a transaction, none of which is asked for an answer.

    PostgreSQL gets them and the commit in one trip; SQLite commits when the transaction ends.

    Raises:
        Outbid: there was not enough left.
        psycopg.Error: as SQLAlchemy would raise it, but bare.
    """
    if not _is_postgresql(connection):
        yield
        return
    driver = _driver(connection)
    try:
        with driver.pipeline():
            yield
            driver.commit()
    except psycopg.errors.DivisionByZero as error:
        raise Outbid from error


def _is_postgresql(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError(f"{driver!r} is no connection of psycopg")
    return driver


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
        if _is_postgresql(connection):
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

# One statement for a transfer and all of its entries.
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
        Outbid: it is not; the transaction is to be rolled back. PostgreSQL says so by dividing by
            zero, for which ``to_the_commit`` raises it.
    """
    touched = sorted({a for m in movements for a in (*m.held, *m.spent)})
    held = [sum(m.held.get(a, 0) for m in movements) for a in touched]
    spent = [sum(m.spent.get(a, 0) for m in movements) for a in touched]
    need = [h + s if within_limits else 0 for h, s in zip(held, spent, strict=True)]
    if not touched:
        return
    if _is_postgresql(connection):
        columns = {"a": touched, "h": held, "s": spent, "n": need}
        connection.execute(_BALANCE, columns)
        return
    rows = zip(touched, held, spent, need, strict=True)
    done = connection.execute(
        _BALANCE_ONE, [{"a": a, "h": h, "s": s, "n": n} for a, h, s, n in rows]
    )
    if done.rowcount != len(touched):
        raise Outbid


# Locked in the order of their numbers, so that two who book on the same accounts cannot lock each
# other out. The division fails, and with it the transaction, unless each had enough left.
_BALANCE = text(
    """
    WITH changed AS (
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
        RETURNING account.id
    )
    SELECT 1 / CAST(count(*) = cardinality(:a) AS integer) FROM changed
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
