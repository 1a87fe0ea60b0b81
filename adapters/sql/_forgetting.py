"""Deleting what a job said and answered."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, exists, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.sql._tables import (
    approvals,
    attempts,
    job_artefacts,
    jobs,
    late_results,
    lineage,
    runs,
    timings,
    transitions,
)
from qsaga.core.contract import ArtefactRef
from qsaga.core.errors import PolicyRefused

_KEPT = {
    *("job_id", "tenant", "key", "payload_hash", "opened", "closed", "seconds", "state"),
    *("quantum_seconds", "classical_seconds", "money", "currency", "forgotten"),
    # A stranger who comes after it must still be a stranger.
    "guarded",
}
_CONTENT = (transitions, attempts, timings, approvals, lineage, late_results)
_LOCK = 0x71736168  # for PostgreSQL's advisory locks, beside those of the migrations


async def serialise(connection: AsyncConnection) -> None:
    """Wait for others that forget: of two jobs that share a blob, the later one must see it."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


async def delete_content(connection: AsyncConnection, row: Row[Any], at: datetime) -> None:
    """Empty a job's row and delete what hangs on it.

    References to artefacts that nobody else needs stay, for whoever deletes the blobs.

    Raises:
        PolicyRefused: it is at work, or an account of it is open.
    """
    if row.closed is None:
        raise PolicyRefused(f"job {row.job_id} is at work: it can be forgotten when it has ended")
    is_open = (
        await connection.scalars(
            select(runs.c.run_id).where(runs.c.job_id == row.job_id, runs.c.settled.is_(False))
        )
    ).all()
    if is_open:
        raise PolicyRefused(
            f"job {row.job_id} has open accounts ({', '.join(sorted(is_open))}): "
            "it can be forgotten when they are closed"
        )
    for table in _CONTENT:
        await connection.execute(delete(table).where(table.c.job_id == row.job_id))
    emptied = {column.name: None for column in jobs.c if column.name not in _KEPT}
    await connection.execute(
        update(jobs).where(jobs.c.job_id == row.job_id).values(**emptied, forgotten=at)
    )
    await connection.execute(
        delete(job_artefacts).where(job_artefacts.c.job_id == row.job_id, _needed_elsewhere())
    )


async def unshared(connection: AsyncConnection, job_id: str) -> tuple[ArtefactRef, ...]:
    """What a forgotten job still refers to and no job that is not forgotten does."""
    rows = await connection.execute(
        select(job_artefacts)
        .where(job_artefacts.c.job_id == job_id, ~_needed_elsewhere())
        .order_by(job_artefacts.c.sha256)
    )
    return tuple(ArtefactRef(sha256=row.sha256, size=row.size, media=row.media) for row in rows)


async def drop_references(connection: AsyncConnection, job_id: str) -> None:
    """Delete the references of a job, if it is forgotten."""
    forgotten = exists().where(jobs.c.job_id == job_id, jobs.c.forgotten.is_not(None))
    await connection.execute(
        delete(job_artefacts).where(job_artefacts.c.job_id == job_id, forgotten)
    )


def _needed_elsewhere() -> ColumnElement[bool]:
    other, owner = job_artefacts.alias(), jobs.alias()
    return exists().where(
        other.c.sha256 == job_artefacts.c.sha256,
        other.c.job_id != job_artefacts.c.job_id,
        owner.c.job_id == other.c.job_id,
        owner.c.forgotten.is_(None),
    )
