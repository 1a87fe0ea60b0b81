"""An account that is settled once more asks nobody for what is booked."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from qsaga.core.ports import Charge, RemoteJob, RemoteState
from qsaga.core.remote_steps import Settled, SettleInput
from qsaga.core.results import Cost
from qsaga.core.settling import booked_before

LATER = datetime(2026, 5, 2, tzinfo=UTC)


def job(name: str, seconds: float | None) -> RemoteJob:
    return RemoteJob(
        provider_job_id=name,
        backend="ibm_torino",
        state=RemoteState.COMPLETED,
        quantum_seconds=seconds,
    )


def charge(name: str, seconds: float) -> Charge:
    return Charge(
        provider="ibm",
        provider_job_id=name,
        backend="ibm_torino",
        state=RemoteState.COMPLETED,
        role="run",
        cost=Cost(quantum_seconds=seconds, money=Decimal(3)),
    )


GIVEN = SettleInput(
    job_id="t/k",
    run_id="tag",
    jobs=(job("a", None),),
    extras=(job("b", None),),
    outcome="not_answered",
)


def test_the_jobs_have_the_charges_that_are_booked() -> None:
    booked = Settled(charges=(charge("a", 3.0), charge("c", 1.0)), cost=Cost())
    again = booked_before(GIVEN, booked, LATER)
    assert again.booked and again.since == LATER
    assert again.jobs == (job("a", 3.0),)
    assert again.extras == (job("c", 1.0),)


def test_where_nothing_is_booked_the_account_stays_as_it_was() -> None:
    wanted = GIVEN.model_copy(update={"since": LATER})
    assert booked_before(GIVEN, None, LATER) == wanted
    assert booked_before(GIVEN, Settled(charges=(), cost=Cost()), LATER) == wanted
