"""What a hardware run spends of what is reserved for it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from qsaga.core.jobs import tenant_of
from qsaga.core.ledger import Amounts, Ledger
from qsaga.core.results import Cost


async def settle_hold(
    ledger: Ledger, hold: str, run_id: str, job_id: str, total: Cost, at: datetime
) -> None:
    """Settle a run's reservation by its charges; safe to repeat.

    Booked is what no other reservation of the run's tag has booked: a job that was terminated may
    have begun the same run before, under a reservation of its own.
    """
    spent = Amounts.hardware(total)
    seconds, money = spent.quantum_seconds, spent.money
    for one in await ledger.reservations(job_id):
        if one.key != hold and one.key.partition("#")[0] == run_id:
            seconds -= one.spent.quantum_seconds
            money -= one.spent.money if one.currency == total.currency else 0
    await ledger.settle(
        hold,
        Amounts(quantum_seconds=max(seconds, Decimal(0)), money=max(money, Decimal(0))),
        at,
        tenant=tenant_of(job_id),
        job_id=job_id,
        currency=total.currency,
    )
