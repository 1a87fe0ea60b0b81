"""Questions over many jobs."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, exists, func, select

from adapters.sql._tables import charges, job_artefacts, jobs, lineage, runs
from qsaga.core.records import BookedRun, HistoryQuery, HistoryRow
from qsaga.core.states import COMPUTED, JobState

_MATCHED = ("tenant", "state", "verb", "source", "backend", "experiment", "template")
_SHOWN = tuple(jobs.c[name] for name in HistoryRow.model_fields)


def matching(query: HistoryQuery) -> Select[Any]:
    """The jobs of a query, newest first; ``since`` belongs to it, ``until`` does not."""
    conditions: list[ColumnElement[bool]] = [
        jobs.c[name] == wanted for name in _MATCHED if (wanted := getattr(query, name)) is not None
    ]
    if query.since is not None:
        conditions.append(jobs.c.opened >= query.since)
    if query.until is not None:
        conditions.append(jobs.c.opened < query.until)
    return (
        select(*_SHOWN)
        .where(*conditions)
        .order_by(jobs.c.opened.desc(), jobs.c.job_id.desc())
        .limit(query.limit)
    )


def history_row(row: Row[Any]) -> HistoryRow:
    """A line of the history; a job that has cost nothing yet has cost zero."""
    money = Decimal(0) if row.money is None else row.money
    return HistoryRow.model_validate(
        {
            **row._asdict(),
            "quantum_seconds": row.quantum_seconds or 0.0,
            "money": f"{money:f}",
            "currency": row.currency or "USD",
        }
    )


def answered(tenant: str, template: str) -> Select[Any]:
    """How many jobs of a template have an answer."""
    return (
        select(func.count())
        .select_from(jobs)
        .where(
            jobs.c.tenant == tenant,
            jobs.c.template == template,
            jobs.c.state.in_((JobState.COMPLETED.value, JobState.DEGRADED.value)),
        )
    )


def answers_to(tenant: str, input_sha256: str) -> Select[Any]:
    """The documents of jobs that computed an answer to an input, newest first."""
    return (
        select(jobs.c.job_id, jobs.c.closed, jobs.c.result)
        .join(lineage, lineage.c.job_id == jobs.c.job_id)
        .where(
            lineage.c.input_sha256 == input_sha256,
            jobs.c.tenant == tenant,
            jobs.c.forgotten.is_(None),
            jobs.c.source.in_([rung.value for rung in COMPUTED]),
        )
        .order_by(jobs.c.closed.desc(), jobs.c.job_id.desc())
        .limit(1)
    )


def forgettable(tenant: str | None, moment: datetime) -> Select[Any]:
    """The ids of jobs closed before ``moment`` of which all accounts are closed."""
    conditions = [jobs.c.closed < moment, jobs.c.forgotten.is_(None)]
    if tenant is not None:
        conditions.append(jobs.c.tenant == tenant)
    is_open = exists().where(runs.c.job_id == jobs.c.job_id, runs.c.settled.is_(False))
    return select(jobs.c.job_id).where(*conditions, ~is_open).order_by(jobs.c.job_id)


def oldest_open() -> Select[Any]:
    """When the oldest job was opened that has not been closed."""
    return select(jobs.c.opened).where(jobs.c.closed.is_(None)).order_by(jobs.c.opened).limit(1)


def half_forgotten() -> Select[Any]:
    """The ids of forgotten jobs that still name artefacts."""
    named = exists().where(job_artefacts.c.job_id == jobs.c.job_id)
    return select(jobs.c.job_id).where(jobs.c.forgotten.is_not(None), named).order_by(jobs.c.job_id)


def booked_of(provider: str, run_id: str | None = None) -> Select[Any]:
    """The remote jobs of a provider, or of one run."""
    columns = (charges.c[name] for name in BookedRun.model_fields)
    query = select(*columns).where(charges.c.provider == provider)
    return query if run_id is None else query.where(charges.c.run_id == run_id)


def open_accounts() -> Select[Any]:
    """Run and job of every account that is open."""
    return select(runs.c.run_id, runs.c.job_id).where(runs.c.settled.is_(False))


def oldest_needed() -> Select[Any]:
    """When the oldest job was opened that is not closed, or has a run that is not."""
    is_open = exists().where(runs.c.job_id == jobs.c.job_id, runs.c.settled.is_(False))
    return select(func.min(jobs.c.opened)).where(jobs.c.closed.is_(None) | is_open)


def still_open() -> Select[Any]:
    """The ids of jobs that have not been closed."""
    return select(jobs.c.job_id).where(jobs.c.closed.is_(None)).order_by(jobs.c.job_id)
