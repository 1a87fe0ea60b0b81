"""The port's methods, each one transaction."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Row, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.sql._charges import book, cost_values
from adapters.sql._closing import artefact_values
from adapters.sql._engine import insert_new, reading
from adapters.sql._forgetting import delete_content, drop_references, serialise, unshared
from adapters.sql._history import (
    answered,
    answers_to,
    booked_of,
    forgettable,
    half_forgotten,
    history_row,
    matching,
    oldest_needed,
    oldest_open,
    open_accounts,
    still_open,
)
from adapters.sql._jobs import close_job, job_of, locked_job, open_job, update_job
from adapters.sql._tables import job_artefacts, jobs, late_results, runs
from adapters.sql._writer import Writer
from qsaga.core.contract import ArtefactRef
from qsaga.core.errors import KeyConflict
from qsaga.core.ports import Charge, LateResult
from qsaga.core.records import (
    BookedRun,
    EarlierAnswer,
    Forgotten,
    HistoryQuery,
    HistoryRow,
    JobOpening,
    JobRecord,
)
from qsaga.core.results import JobResult

_GUARDED = select(jobs.c.guarded).where(jobs.c.job_id == bindparam("this"))

AT_ONCE = 500
"""Names in one question: SQLite takes no more than 32,766."""


class SqlJobRecords:
    """Job records in SQL (implements ``JobRecords``), safe to share a database with others.

    Args:
        engine: from ``open_engine``, of a database that ``migrate`` has brought up to date.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine, self._writer = engine, Writer.of(engine)

    async def open(self, opening: JobOpening) -> None:
        """A row for a job; what was not known at a first opening is added by a later one.

        Raises:
            KeyConflict: the id has another payload, or its job was forgotten.
        """
        await self._writer.write(lambda connection: open_job(connection, opening))

    async def close(
        self,
        result: JobResult,
        artefacts: tuple[ArtefactRef, ...] = (),
        opening: JobOpening | None = None,
    ) -> JobResult | None:
        """The closing record with all its parts. The first one stands, and is returned.

        It is closed at the time of the result's last transition. ``artefacts`` are references
        beside those that the result itself holds; ``opening`` is done in the same transaction.
        Of a forgotten job no result stands.

        Raises:
            NoSuchJob: the job was never opened.
            KeyConflict: the result belongs to another payload than the row.
        """
        return await self._writer.write(
            lambda connection: close_job(connection, result, artefacts, opening)
        )

    async def open_run(self, job_id: str, run_id: str) -> None:
        """A hardware run whose account is open; one that was settled stays settled.

        Raises:
            NoSuchJob: the job was never opened.
            KeyConflict: the run belongs to another job.
        """
        async with self._engine.begin() as connection:
            await add_run(connection, job_id, run_id)

    async def settle_run(
        self, job_id: str, run_id: str, charges: tuple[Charge, ...], late: LateResult | None
    ) -> None:
        """Close the account of a run; the cost of the job follows, also when it is closed.

        What was recorded stays, so that repeating adds nothing; only a charge that was not final
        is replaced by a later word on it. Of a forgotten job no late result is kept.

        Raises:
            NoSuchJob: the job was never opened.
            KeyConflict: the run belongs to another job.
        """
        async with self._engine.begin() as connection:
            row = await add_run(connection, job_id, run_id)
            for position, charge in enumerate(charges):
                await book(connection, job_id, run_id, position, charge)
            if late is not None and row.forgotten is None:
                await _add_late(connection, job_id, run_id, late)
            await connection.execute(
                update(runs)
                .where(runs.c.run_id == run_id)
                .values(settled=True, watched=None, quarantined=None, resolution=None)
            )
            if values := await cost_values(connection, job_id):
                await _update(connection, job_id, values)

    async def guarded(self, job_id: str) -> bool | None:
        """Whether the job was admitted as a guarded one; None if it was not admitted."""
        known: bool | None = await self._writer.read(
            lambda connection: connection.scalar(_GUARDED, {"this": job_id})
        )
        return known

    async def get(self, job_id: str) -> JobRecord | None:
        """The record, or None. Charges and late results in the order of their runs."""
        return await self._writer.read(lambda connection: job_of(connection, job_id))

    async def find(self, query: HistoryQuery) -> tuple[HistoryRow, ...]:
        """The jobs that match, newest first; ``since`` belongs to them, ``until`` does not."""
        async with reading(self._engine) as connection:
            rows = await connection.execute(matching(query))
            return tuple(history_row(row) for row in rows)

    async def template_runs(self, tenant: str, template: str) -> int:
        """How many jobs of the template have been answered for the tenant and are not forgotten."""
        async with reading(self._engine) as connection:
            return await connection.scalar(answered(tenant, template)) or 0

    async def newest_answer(self, tenant: str, input_sha256: str) -> EarlierAnswer | None:
        """The tenant's newest computed answer to the same input that has not been forgotten."""
        async with reading(self._engine) as connection:
            found = await connection.execute(answers_to(tenant, input_sha256))
            row = found.one_or_none()
        if row is None:
            return None
        provenance = JobResult.model_validate_json(row.result).provenance
        if provenance is None or "result" not in provenance.artefacts:
            return None
        return EarlierAnswer(job_id=row.job_id, closed=row.closed, provenance=provenance)

    async def closed_before(self, tenant: str | None, moment: datetime) -> tuple[str, ...]:
        """Jobs closed before ``moment`` that have no open run and are not forgotten, by id."""
        async with reading(self._engine) as connection:
            return tuple(await connection.scalars(forgettable(tenant, moment)))

    async def beginning(self, prefix: str) -> tuple[str, ...]:
        """Jobs whose id begins so, forgotten ones as well, by id."""
        like = jobs.c.job_id.startswith(prefix, autoescape=True)
        async with reading(self._engine) as connection:
            found = await connection.scalars(select(jobs.c.job_id).where(like))
        # LIKE of SQLite takes capitals for small letters.
        return tuple(sorted(job_id for job_id in found if job_id.startswith(prefix)))

    async def at_work(self) -> tuple[str, ...]:
        """Jobs that have a row and no closing record, by id."""
        async with reading(self._engine) as connection:
            return tuple(await connection.scalars(still_open()))

    async def oldest_at_work(self) -> datetime | None:
        """When the oldest job was opened that has not been closed; None if there is none."""
        async with reading(self._engine) as connection:
            oldest: datetime | None = await connection.scalar(oldest_open())
        return oldest

    async def owners(self, run_ids: Collection[str]) -> dict[str, str]:
        """The job of each run, by run; what is no run is left out."""
        found = await self._rows_among(runs.c.run_id, run_ids, runs.c.job_id)
        return {row.run_id: row.job_id for row in found}

    async def booked(self, provider: str, run_id: str | None = None) -> tuple[BookedRun, ...]:
        """Every remote job of a provider that was ever booked; those of one run, if it is named."""
        async with reading(self._engine) as connection:
            rows = (await connection.execute(booked_of(provider, run_id))).all()
        return tuple(BookedRun.model_validate(row._asdict()) for row in rows)

    async def open_accounts(self) -> dict[str, str]:
        """The job of each run whose account is open, by run."""
        async with reading(self._engine) as connection:
            rows = await connection.execute(open_accounts())
            return {row.run_id: row.job_id for row in rows}

    async def oldest_needed(self) -> datetime | None:
        """When the oldest job was opened that is not closed, or has a run that is not."""
        async with reading(self._engine) as connection:
            oldest: datetime | None = await connection.scalar(oldest_needed())
        return oldest

    async def unknown(self, job_ids: Collection[str]) -> tuple[str, ...]:
        """Those of the ids of which there is no row."""
        known = await self._among(jobs.c.job_id, job_ids)
        return tuple(sorted(set(job_ids) - known))

    async def referred(self, hashes: Collection[str]) -> frozenset[str]:
        """Those of the SHA-256 hashes under which an artefact of some job is kept."""
        return await self._among(job_artefacts.c.sha256, hashes)

    async def _among(self, column: Column[Any], wanted: Collection[str]) -> frozenset[str]:
        return frozenset(row[0] for row in await self._rows_among(column, wanted))

    async def _rows_among(
        self, column: Column[Any], wanted: Collection[str], *more: Column[Any]
    ) -> list[Row[Any]]:
        found: list[Row[Any]] = []
        left = sorted(set(wanted))
        async with reading(self._engine) as connection:
            while left:
                part, left = left[:AT_ONCE], left[AT_ONCE:]
                query = select(column, *more).where(column.in_(part)).distinct()
                found.extend(await connection.execute(query))
        return found

    async def forget(self, job_id: str, at: datetime) -> Forgotten:
        """Delete what a job said and answered; its charges, runs and times stay.

        The artefacts are named at each repetition, so that the blobs can be deleted by whoever
        follows a process that died in between, until ``erased`` says that it is done. One that a
        job which is not forgotten needs, by now, is left out.

        Raises:
            NoSuchJob: the job was never opened.
            PolicyRefused: it is at work, or an account of it is open.
        """
        async with self._engine.begin() as connection:
            await serialise(connection)
            row = await lock_job(connection, job_id)
            if row.forgotten is None:
                await delete_content(connection, row, at)
            ids = await connection.scalars(
                select(runs.c.run_id).where(runs.c.job_id == job_id).order_by(runs.c.run_id)
            )
            return Forgotten(
                job_id=job_id, run_ids=tuple(ids), artefacts=await unshared(connection, job_id)
            )

    async def erased(self, job_id: str) -> None:
        """The artefacts that ``forget`` named are gone: they are named no more."""
        async with self._engine.begin() as connection:
            await drop_references(connection, job_id)

    async def unerased(self) -> tuple[str, ...]:
        """Jobs that were forgotten and whose artefacts are still named, by id."""
        async with reading(self._engine) as connection:
            return tuple(await connection.scalars(half_forgotten()))


async def lock_job(connection: AsyncConnection, job_id: str) -> Row[Any]:
    """The row of a job, which no other transaction changes until ours ends."""
    return await connection.run_sync(lambda direct: locked_job(direct, job_id))


async def _update(connection: AsyncConnection, job_id: str, values: dict[str, Any]) -> None:
    await connection.run_sync(lambda direct: update_job(direct, job_id, values))


async def add_run(connection: AsyncConnection, job_id: str, run_id: str) -> Row[Any]:
    """A row for a run if there is none; returns its job's, locked.

    Raises NoSuchJob; KeyConflict if the run is another job's.
    """
    job = await lock_job(connection, job_id)
    await insert_new(connection, runs, run_id=run_id, job_id=job_id, settled=False)
    owner = await connection.scalar(select(runs.c.job_id).where(runs.c.run_id == run_id))
    if owner != job_id:
        raise KeyConflict(f"run {run_id} belongs to job {owner}, not to {job_id}")
    return job


async def _add_late(
    connection: AsyncConnection, job_id: str, run_id: str, late: LateResult
) -> None:
    await insert_new(
        connection,
        late_results,
        run_id=run_id,
        job_id=job_id,
        late=late.model_dump_json(),
        **late.model_dump(include={"objective", "served_objective", "difference", "comparison"}),
    )
    await insert_new(connection, job_artefacts, **artefact_values(job_id, late.result))
