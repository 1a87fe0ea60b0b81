"""The port's methods, each one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from adapters.sql._tables import (
    charges,
    create_tables,
    insert_new,
    jobs,
    late_results,
    open_engine,
    runs,
)
from qsaga.core.errors import KeyConflict, NoSuchJob
from qsaga.core.ports import Charge, JobRecord, LateResult
from qsaga.core.results import Cost, JobResult


class SqlJobRecords:
    """Job records in SQL. Blocking, thread-safe, and safe to share a database with others.

    Args:
        url: SQLAlchemy URL: ``sqlite:////path/to/file``, or ``postgresql+psycopg://…`` with a
            driver installed. Missing tables are made.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        create_tables(self._engine)

    def dispose(self) -> None:
        """Close all connections; the next call opens new ones."""
        self._engine.dispose()

    def open(self, job_id: str, payload_hash: str, at: datetime) -> None:
        """A row for a job, opened ``at``.

        Raises:
            KeyConflict: the id has another payload.
        """
        with self._engine.begin() as connection:
            insert_new(connection, jobs, job_id=job_id, payload_hash=payload_hash, opened=at)
            _same_payload(connection, job_id, payload_hash)

    def close(self, job_id: str, result: JobResult) -> None:
        """The closing record. The first one stands.

        Raises:
            NoSuchJob: the job was never opened.
            KeyConflict: the result belongs to another payload than the row.
        """
        with self._engine.begin() as connection:
            # Also where a key conflict itself is the result: it must not close the other's row.
            _same_payload(connection, job_id, result.payload_hash)
            connection.execute(
                update(jobs)
                .where(jobs.c.job_id == job_id, jobs.c.result.is_(None))
                .values(state=result.state.value, result=result.model_dump_json())
            )

    def open_run(self, job_id: str, run_id: str) -> None:
        """A hardware run whose account is open; one that was settled stays settled.

        Raises:
            NoSuchJob: the job was never opened.
            KeyConflict: the run belongs to another job.
        """
        with self._engine.begin() as connection:
            _add_run(connection, job_id, run_id)

    def settle_run(
        self, job_id: str, run_id: str, charges: tuple[Charge, ...], late: LateResult | None
    ) -> None:
        """Close the account of a run.

        What was recorded stays, so that repeating adds nothing; only a charge that was not final
        is replaced by a later word on it.

        Raises:
            NoSuchJob: the job was never opened.
            KeyConflict: the run belongs to another job.
        """
        with self._engine.begin() as connection:
            _add_run(connection, job_id, run_id)
            for position, charge in enumerate(charges):
                _book(connection, job_id, run_id, position, charge)
            if late is not None:
                insert_new(
                    connection,
                    late_results,
                    run_id=run_id,
                    job_id=job_id,
                    late=late.model_dump_json(),
                )
            connection.execute(update(runs).where(runs.c.run_id == run_id).values(settled=True))

    def get(self, job_id: str) -> JobRecord | None:
        """The record, or None. Charges and late results in the order of their runs."""
        with self._reading() as connection:
            row = connection.execute(select(jobs).where(jobs.c.job_id == job_id)).one_or_none()
            if row is None:
                return None
            booked = connection.execute(
                select(charges)
                .where(charges.c.job_id == job_id)
                .order_by(charges.c.run_id, charges.c.position, charges.c.provider_job_id)
            ).all()
            late = connection.scalars(
                select(late_results.c.late)
                .where(late_results.c.job_id == job_id)
                .order_by(late_results.c.run_id)
            ).all()
            open_runs = connection.scalars(
                select(runs.c.run_id)
                .where(runs.c.job_id == job_id, runs.c.settled.is_(False))
                .order_by(runs.c.run_id)
            ).all()
        return JobRecord(
            job_id=row.job_id,
            payload_hash=row.payload_hash,
            opened=row.opened,
            result=None if row.result is None else JobResult.model_validate_json(row.result),
            charges=tuple(_charge(r) for r in booked),
            late_results=tuple(LateResult.model_validate_json(text) for text in late),
            open_runs=tuple(open_runs),
        )

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A transaction that shows one moment and keeps no writer waiting."""
        engine = self._engine.execution_options(reads=True)
        if engine.dialect.name == "postgresql":
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with engine.begin() as connection:
            yield connection


def _same_payload(connection: Connection, job_id: str, payload_hash: str) -> None:
    kept = connection.scalar(select(jobs.c.payload_hash).where(jobs.c.job_id == job_id))
    if kept is None:
        raise NoSuchJob(f"no record of job {job_id}")
    if kept != payload_hash:
        raise KeyConflict(
            f"job {job_id} was opened with payload {kept[:12]}…, this one is {payload_hash[:12]}…"
        )


def _add_run(connection: Connection, job_id: str, run_id: str) -> None:
    if connection.scalar(select(jobs.c.job_id).where(jobs.c.job_id == job_id)) is None:
        raise NoSuchJob(f"no record of job {job_id}")
    insert_new(connection, runs, run_id=run_id, job_id=job_id, settled=False)
    owner = connection.scalar(select(runs.c.job_id).where(runs.c.run_id == run_id))
    if owner != job_id:
        raise KeyConflict(f"run {run_id} belongs to job {owner}, not to {job_id}")


def _book(connection: Connection, job_id: str, run_id: str, position: int, charge: Charge) -> None:
    values: dict[str, Any] = {
        "backend": charge.backend,
        "state": charge.state.value,
        "role": charge.role,
        **charge.cost.model_dump(),
    }
    key = {"provider": charge.provider, "provider_job_id": charge.provider_job_id}
    if insert_new(
        connection, charges, **key, job_id=job_id, run_id=run_id, position=position, **values
    ):
        return
    connection.execute(
        update(charges)
        .where(
            charges.c.provider == charge.provider,
            charges.c.provider_job_id == charge.provider_job_id,
            charges.c.run_id == run_id,
            charges.c.settled.is_(False),
        )
        .values(**values)
    )


def _charge(row: Row[Any]) -> Charge:
    kept = row._asdict()
    cost = {name: kept[name] for name in Cost.model_fields}
    return Charge.model_validate(
        {**{name: kept[name] for name in Charge.model_fields if name != "cost"}, "cost": cost}
    )
