"""What a reconciliation asks the books does not grow with all that was ever booked."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import AsyncEngine

from activities.survey import Survey, Surveyor
from adapters.sql import SqlJobRecords, SqlLedger
from qsaga.core.ledger import Amounts, hold_key
from qsaga.core.ports import RemoteJob, RemoteState
from tests.adapters.sql.samples import AT, HASH, charge, opening

pytestmark = pytest.mark.timeout(120)
JOBS = 40
WRONG, UNBOOKED, STRANGE = "acme/7", "acme/8", "of nobody"
SECONDS = 2.5


async def nobody(workflow_id: str) -> bool:
    """No workflow is at work."""
    return False


async def booked(records: SqlJobRecords, ledger: SqlLedger, number: int, survey: Survey) -> None:
    """A job whose run has ended, and one whose run still waits, as the provider lists them."""
    job_id, run = f"acme/{number}", f"run-{number}"
    await records.open(opening(job_id, HASH))
    await records.open_run(job_id, f"waiting-{number}")
    name = f"remote-{number}"
    ended = charge(0, SECONDS).model_copy(update={"provider": "none", "provider_job_id": name})
    if job_id != UNBOOKED:
        await records.settle_run(job_id, run, (ended,), None)
    spent = Amounts(quantum_seconds=Decimal("1.5" if job_id == WRONG else str(SECONDS)))
    await ledger.settle(hold_key(run, job_id), spent, AT, tenant="acme", job_id=job_id)
    for name, tag, state, seconds in (
        (f"remote-{number}", run, RemoteState.COMPLETED, SECONDS),
        (f"later-{number}", f"waiting-{number}", RemoteState.QUEUED, None),
    ):
        survey.put(
            RemoteJob(
                provider_job_id=name,
                backend="ibm_torino",
                state=state,
                quantum_seconds=seconds,
                tags=("qsaga", tag),
            )
        )


async def test_what_agrees_is_compared_in_a_few_statements(engine: AsyncEngine) -> None:
    records, ledger, survey = SqlJobRecords(engine), SqlLedger(engine), Survey()
    for number in range(JOBS):
        await booked(records, ledger, number, survey)
    stranger = RemoteJob(
        provider_job_id="later-0",
        backend="ibm_torino",
        state=RemoteState.QUEUED,
        tags=("qsaga", STRANGE),
    )
    survey.put(stranger)
    asked: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        asked.append(statement)

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        found = await Surveyor(None, records, ledger, "acme").differences(survey, nobody)
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    assert [one.text for one in found] == [
        "later-0: queued, and no job of this database bears its tags",
        "remote-8: 2.5 quantum seconds charged, not booked",
        "job acme/7: 2.5 quantum seconds charged, 1.5 in the ledger",
    ]
    assert len(asked) < JOBS / 2, asked
