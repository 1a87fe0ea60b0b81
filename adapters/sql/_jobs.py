"""The row of a job, in a thread that may wait: opened, closed, read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from adapters.sql._charges import charges_of, costs
from adapters.sql._closing import (
    artefact_values,
    artefacts_of,
    closing_rows,
    closing_values,
    opening_values,
)
from adapters.sql._engine import add_new
from adapters.sql._tables import job_artefacts, jobs, late_results, runs
from qsaga.core.approval import ApprovalRecord
from qsaga.core.contract import ArtefactRef
from qsaga.core.errors import KeyConflict, NoSuchJob
from qsaga.core.facts import Decision
from qsaga.core.jobs import JobRequest
from qsaga.core.ports import LateResult
from qsaga.core.records import JobOpening, JobRecord
from qsaga.core.results import JobResult


def open_job(connection: Connection, opening: JobOpening) -> None:
    """A row for a job, or what was not known of it at an earlier opening. Raises KeyConflict."""
    values = opening_values(opening)
    if add_new(connection, jobs, **values):
        return
    row = locked_job(connection, opening.job_id)
    if row.forgotten is not None:
        raise KeyConflict(
            f"job {opening.job_id} was forgotten at {row.forgotten:%Y-%m-%d %H:%M:%S} UTC; "
            "its key cannot be used again"
        )
    _same_payload(row, opening.payload_hash)
    kept = row._asdict()
    new = {name: value for name, value in values.items() if kept[name] is None}
    if new:
        update_job(connection, opening.job_id, new)


def close_job(
    connection: Connection, result: JobResult, artefacts: tuple[ArtefactRef, ...]
) -> None:
    """The closing record, unless there is one. Raises NoSuchJob, KeyConflict."""
    job_id = result.job_id
    row = locked_job(connection, job_id)
    # Also where a key conflict itself is the result: it must not close the other's row.
    _same_payload(row, result.payload_hash)
    if row.closed is not None:
        return
    closed = result.transitions[-1].at if result.transitions else datetime.now(UTC)
    values = closing_values(result, row.opened, closed)
    values |= costs(connection, job_id, result.cost)
    update_job(connection, job_id, values)
    for table, rows in closing_rows(result):
        if rows:
            connection.execute(insert(table), rows)
    for reference in (*artefacts_of(result), *artefacts):
        add_new(connection, job_artefacts, **artefact_values(job_id, reference))


def job_of(connection: Connection, job_id: str) -> JobRecord | None:
    """The whole record, or None."""
    row = connection.execute(select(jobs).where(jobs.c.job_id == job_id)).one_or_none()
    if row is None:
        return None
    late = connection.scalars(
        select(late_results.c.late)
        .where(late_results.c.job_id == job_id)
        .order_by(late_results.c.run_id)
    )
    known = connection.execute(
        select(runs).where(runs.c.job_id == job_id).order_by(runs.c.run_id)
    ).all()
    return JobRecord(
        job_id=row.job_id,
        payload_hash=row.payload_hash,
        opened=row.opened,
        closed=row.closed,
        submitter=row.submitter,
        request=row.request and JobRequest.model_validate_json(row.request),
        decision=row.decision and Decision.model_validate_json(row.decision),
        result=row.result and JobResult.model_validate_json(row.result),
        approval=row.approval and ApprovalRecord.model_validate_json(row.approval),
        charges=charges_of(connection, job_id),
        late_results=tuple(LateResult.model_validate_json(text) for text in late),
        open_runs=tuple(run.run_id for run in known if not run.settled),
        runs=tuple(run.run_id for run in known),
        forgotten=row.forgotten,
    )


def locked_job(connection: Connection, job_id: str) -> Row[Any]:
    """The row of a job, which no other transaction changes until ours ends. Raises NoSuchJob."""
    query = select(jobs).where(jobs.c.job_id == job_id).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NoSuchJob(f"no record of job {job_id}")
    return row


def update_job(connection: Connection, job_id: str, values: dict[str, Any]) -> None:
    """Change columns of a job's row."""
    connection.execute(update(jobs).where(jobs.c.job_id == job_id).values(**values))


def _same_payload(row: Row[Any], payload_hash: str) -> None:
    if row.payload_hash != payload_hash:
        raise KeyConflict(
            f"job {row.job_id} was opened with payload {row.payload_hash[:12]}…, "
            f"this one is {payload_hash[:12]}…"
        )
