"""What was charged for a job, and what it comes to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.sql._engine import insert_new
from adapters.sql._tables import charges
from qsaga.core.ports import Charge
from qsaga.core.results import Cost


async def book(
    connection: AsyncConnection, job_id: str, run_id: str, position: int, charge: Charge
) -> None:
    """Write a charge; of one that is there only what was not final is replaced."""
    values: dict[str, Any] = {
        "backend": charge.backend,
        "state": charge.state.value,
        "role": charge.role,
        **charge.cost.model_dump(),
    }
    key = {"provider": charge.provider, "provider_job_id": charge.provider_job_id}
    if await insert_new(
        connection, charges, **key, job_id=job_id, run_id=run_id, position=position, **values
    ):
        return
    await connection.execute(
        update(charges)
        .where(
            charges.c.provider == charge.provider,
            charges.c.provider_job_id == charge.provider_job_id,
            charges.c.run_id == run_id,
            charges.c.settled.is_(False),
        )
        .values(**values)
    )


async def cost_values(
    connection: AsyncConnection, job_id: str, told: Cost | None = None
) -> dict[str, Any]:
    """``costs`` through an event loop."""
    return await connection.run_sync(lambda direct: costs(direct, job_id, told))


def charges_of(connection: Connection, job_id: str) -> tuple[Charge, ...]:
    """The charges of a job in the order of its runs."""
    return tuple(map(_charge, connection.execute(_OF_JOB, {"this": job_id})))


_OF_JOB = (
    select(charges)
    .where(charges.c.job_id == bindparam("this"))
    .order_by(charges.c.run_id, charges.c.position, charges.c.provider_job_id)
)


def costs(connection: Connection, job_id: str, told: Cost | None = None) -> dict[str, Any]:
    """The cost columns of ``jobs``: what was charged, or what the result says where nothing was."""
    booked = charges_of(connection, job_id)
    values: dict[str, Any] = {}
    if told is not None:
        values = told.model_dump(exclude={"settled"})
    if booked:
        currency = booked[0].cost.currency
        # Amounts in different currencies have no sum.
        same = [charge.cost.money for charge in booked if charge.cost.currency == currency]
        values |= {
            "quantum_seconds": sum(charge.cost.quantum_seconds for charge in booked),
            "money": sum(same, Decimal(0)),
            "currency": currency,
        }
    return values


def _charge(row: Row[Any]) -> Charge:
    kept = row._asdict()
    cost = {name: kept[name] for name in Cost.model_fields}
    return Charge.model_validate(
        {**{name: kept[name] for name in Charge.model_fields if name != "cost"}, "cost": cost}
    )
