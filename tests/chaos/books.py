"""Charges and ledger of a scene, read by SQL of our own."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import NullPool, create_engine, make_url

from tests.chaos.counting import Booked
from tests.chaos.scenarios import PRICE

MILLION = 1_000_000


def books(url: str) -> dict[str, Any]:
    """What a ``Truth`` needs of the database, by its names."""
    charges = _rows(url, "SELECT provider_job_id, run_id, quantum_seconds FROM charges")
    ((spent,),) = _rows(
        url, "SELECT coalesce(sum(spent), 0) FROM ledger_accounts WHERE unit = 'quantum_seconds'"
    )
    held = _rows(url, "SELECT key FROM ledger_reservations WHERE state = 'held'")
    uneven = _rows(
        url,
        "SELECT e.transfer_id, a.unit, sum(e.amount) FROM ledger_entries e"
        " JOIN ledger_accounts a ON a.id = e.account_id"
        " GROUP BY e.transfer_id, a.unit HAVING sum(e.amount) <> 0",
    )
    paid = _rows(url, "SELECT provider_job_id, quantum_seconds, money FROM charges")
    ((money,),) = _rows(
        url, "SELECT coalesce(sum(spent), 0) FROM ledger_accounts WHERE unit = 'money'"
    )
    waiting = _rows(
        url, "SELECT run_id FROM runs WHERE quarantined IS NOT NULL AND resolution IS NULL"
    )
    return {
        "charges": [Booked(*row) for row in charges],
        "spent": int(spent) / MILLION,
        "held": len(held),
        "books": [
            *(f"transfer {one}: {total} of {unit}" for one, unit, total in uneven),
            *wrong_money(paid, Decimal(int(money)) / MILLION),
        ],
        "quarantined": [run for (run,) in waiting],
    }


def wrong_money(charges: Sequence[tuple[str, float, Decimal | str]], spent: Decimal) -> list[str]:
    """In words: charges at another price than the machine's, and a ledger that says another sum.

    Args:
        charges: of each remote job its id, quantum seconds and USD.
        spent: what the ledger says was used, USD.
    """
    prices = {job: Decimal(str(seconds)) * PRICE for job, seconds, _ in charges}
    found = [
        f"job {job}: {money} USD booked, {prices[job]} is its price"
        for job, _, money in charges
        if Decimal(str(money)) != prices[job]
    ]
    if spent != sum(prices.values()):
        found.append(f"the ledger says {spent} USD, the jobs cost {sum(prices.values())}")
    return found


def late_results(url: str) -> int:
    """How many were noted."""
    ((number,),) = _rows(url, "SELECT count(*) FROM late_results")
    return int(number)


def _rows(url: str, query: str) -> Sequence[Sequence[Any]]:
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    # No connection stays: its server may be killed next.
    with create_engine(parsed, poolclass=NullPool).connect() as connection:
        return connection.exec_driver_sql(query).all()
