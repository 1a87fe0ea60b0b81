"""The row of a job, in a thread that may wait: opened, closed, read."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from adapters.sql._charges import charges_of, costs
from adapters.sql._closing import (
    artefact_values,
    artefacts_of,
    closing_rows,
    closing_values,
    opening_values,
)
from adapters.sql._engine import add_all, add_new
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
    if not add_new(connection, jobs, **opening_values(opening)):
        _complete(connection, locked_job(connection, opening.job_id), opening)


def _complete(connection: Connection, row: Row[Any], opening: JobOpening) -> None:
    if row.forgotten is not None:
        raise KeyConflict(
            f"job {opening.job_id} was forgotten at {row.forgotten:%Y-%m-%d %H:%M:%S} UTC; "
            "its key cannot be used again"
        )
    _same_payload(row, opening.payload_hash)
    kept, values = row._asdict(), opening_values(opening)
    new = {name: value for name, value in values.items() if kept[name] is None}
    if new:
        update_job(connection, opening.job_id, new)


def close_job(
    connection: Connection,
    result: JobResult,
    artefacts: tuple[ArtefactRef, ...],
    opening: JobOpening | None,
) -> JobResult | None:
    """The closing record, unless there is one: then its result. Raises NoSuchJob, KeyConflict."""
    job_id = result.job_id
    row = _locked(connection, job_id)
    if row is not None and opening is not None:
        _complete(connection, row, opening)
    elif row is None:
        if opening is not None:
            open_job(connection, opening)
        row = locked_job(connection, job_id)
    # Also where a key conflict itself is the result: it must not close the other's row.
    _same_payload(row, result.payload_hash)
    if row.closed is not None:
        return row.result and JobResult.model_validate_json(row.result)
    closed = result.transitions[-1].at if result.transitions else datetime.now(UTC)
    values = closing_values(result, row.opened, closed)
    values |= costs(connection, job_id, result.cost)
    update_job(connection, job_id, values)
    for table, rows in closing_rows(result):
        if rows:
            connection.execute(_insert(table), rows)
    references = dict.fromkeys((*artefacts_of(result), *artefacts))
    add_all(connection, job_artefacts, [artefact_values(job_id, each) for each in references])
    return None


def job_of(connection: Connection, job_id: str) -> JobRecord | None:
    """The whole record, or None."""
    row = connection.execute(_ROW, {"this": job_id}).one_or_none()
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
    row = _locked(connection, job_id)
    if row is None:
        raise NoSuchJob(f"no record of job {job_id}")
    return row


def _locked(connection: Connection, job_id: str) -> Row[Any] | None:
    return connection.execute(_LOCKED, {"this": job_id}).one_or_none()


# Each made once: SQLAlchemy takes longer to make a statement than SQLite to carry it out.
_ROW = select(jobs).where(jobs.c.job_id == bindparam("this"))
_LOCKED = _ROW.with_for_update()
_CHANGE = update(jobs).where(jobs.c.job_id == bindparam("this"))
_insert = cache(insert)


def update_job(connection: Connection, job_id: str, values: dict[str, Any]) -> None:
    """Change columns of a job's row."""
    connection.execute(_CHANGE, values | {"this": job_id})


def _same_payload(row: Row[Any], payload_hash: str) -> None:
    if row.payload_hash != payload_hash:
        raise KeyConflict(
            f"job {row.job_id} was opened with payload {row.payload_hash[:12]}…, "
            f"this one is {payload_hash[:12]}…"
        )
