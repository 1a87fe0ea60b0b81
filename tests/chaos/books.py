"""Charges and ledger of a scene, read by SQL of our own."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.chaos.counting import Booked

MILLION = 1_000_000


def books(database: Path) -> dict[str, Any]:
    """What a ``Truth`` needs of the database, by its names."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT provider_job_id, run_id, quantum_seconds FROM charges")
        charges = [Booked(*row) for row in rows]
        (spent,) = connection.execute(
            "SELECT coalesce(sum(spent), 0) FROM ledger_accounts WHERE unit = 'quantum_seconds'"
        ).fetchone()
        held = connection.execute(
            "SELECT key FROM ledger_reservations WHERE state = 'held'"
        ).fetchall()
        uneven = connection.execute(
            "SELECT e.transfer_id, a.unit, sum(e.amount) FROM ledger_entries e"
            " JOIN ledger_accounts a ON a.id = e.account_id"
            " GROUP BY e.transfer_id, a.unit HAVING sum(e.amount) <> 0"
        ).fetchall()
        waiting = connection.execute(
            "SELECT run_id FROM runs WHERE quarantined IS NOT NULL AND resolution IS NULL"
        ).fetchall()
    return {
        "charges": charges,
        "spent": spent / MILLION,
        "held": len(held),
        "books": [f"transfer {one}: {total} of {unit}" for one, unit, total in uneven],
        "quarantined": [run for (run,) in waiting],
    }


def late_results(database: Path) -> int:
    """How many were noted."""
    with closing(sqlite3.connect(database)) as connection:
        (number,) = connection.execute("SELECT count(*) FROM late_results").fetchone()
    return int(number)
