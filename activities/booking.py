"""What remote jobs were charged, and what that leaves of what was reserved for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal

from qsaga.core.errors import TransientProviderError
from qsaga.core.jobs import tenant_of
from qsaga.core.ledger import Amounts, Ledger
from qsaga.core.policy import Policy
from qsaga.core.ports import Charge, QuantumProvider, RemoteJob
from qsaga.core.results import Cost


async def charge_of(
    provider: QuantumProvider, policy: Policy, job: RemoteJob, role: Literal["run", "extra"]
) -> Charge:
    """What a remote job was charged; one that has not ended is ended first.

    Raises:
        ProviderError: that is not known, or not known yet.
    """
    if not job.state.ended:
        job = await provider.cancel(job.provider_job_id)
    if job.quantum_seconds is None:
        job = await provider.status(job.provider_job_id)
    if not job.state.ended or job.quantum_seconds is None:
        raise TransientProviderError(
            f"the charge of remote job {job.provider_job_id} is not known yet"
        )
    price = policy.hardware.price(job.backend)
    return Charge(
        provider=provider.name,
        provider_job_id=job.provider_job_id,
        backend=job.backend,
        state=job.state,
        role=role,
        cost=Cost(
            quantum_seconds=job.quantum_seconds,
            money=price.per_quantum_second * Decimal(str(job.quantum_seconds)),
            currency=price.currency,
        ),
    )


def total_of(charges: Sequence[Charge]) -> Cost:
    """The sum of charges; all are in the currency of the first."""
    return Cost(
        quantum_seconds=sum(charge.cost.quantum_seconds for charge in charges),
        money=sum((charge.cost.money for charge in charges), Decimal(0)),
        currency=charges[0].cost.currency if charges else "USD",
    )


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
        if one.key != hold and one.owner == run_id:
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
