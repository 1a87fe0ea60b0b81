"""The job table: what is kept, what a repetition changes, and what races leave behind."""

from __future__ import annotations

import multiprocessing
import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from adapters.sql import SqlJobRecords
from adapters.sql._tables import metadata
from qsaga.core.contract import ArtefactRef
from qsaga.core.errors import KeyConflict, NoSuchJob
from qsaga.core.ports import Charge, LateResult, RemoteState
from qsaga.core.results import Cost, JobResult, Unanswered
from qsaga.core.states import JobState

pytestmark = pytest.mark.timeout(60)
JOB, HASH, OTHER = "acme/one", "a" * 64, "b" * 64
AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/new/records.sqlite3"


@pytest.fixture
def records(url: str) -> Iterator[SqlJobRecords]:
    made = SqlJobRecords(url)
    yield made
    made.dispose()


def result(state: JobState = JobState.FAILED, payload: str = HASH, why: str = "") -> JobResult:
    return JobResult(
        job_id=JOB,
        tenant="acme",
        key="one",
        payload_hash=payload,
        state=state,
        unanswered=Unanswered(reason=why or "no rung answered"),
        cost=Cost(money=Decimal("0.10")),
    )


def charge(number: int, seconds: float = 2.0, *, settled: bool = True) -> Charge:
    return Charge(
        provider="ibm",
        provider_job_id=f"d{number}",
        backend="ibm_torino",
        state=RemoteState.COMPLETED,
        role="run" if number == 0 else "extra",
        cost=Cost(
            quantum_seconds=seconds,
            money=Decimal("3.200000000000000000001"),
            currency="EUR",
            classical_seconds=0.5,
            settled=settled,
        ),
    )


LATE = LateResult(
    run_id="run1",
    result=ArtefactRef(sha256="c" * 64, size=3, media="text/plain"),
    objective=3.0,
    comparison="better",
)


def test_a_job_from_opening_to_settlement(records: SqlJobRecords, url: str) -> None:
    assert records.get(JOB) is None
    records.open(JOB, HASH, AT)
    records.open_run(JOB, "run1")
    records.open_run(JOB, "run2")
    kept = records.get(JOB)
    assert kept is not None
    assert (kept.opened, kept.result, kept.open_runs) == (AT, None, ("run1", "run2"))

    records.settle_run(JOB, "run1", (charge(0), charge(1)), LATE)
    records.close(JOB, result())
    records.dispose()
    kept = SqlJobRecords(url).get(JOB)
    assert kept is not None
    assert kept.open_runs == ("run2",)
    assert kept.charges == (charge(0), charge(1))
    assert str(kept.charges[0].cost.money) == "3.200000000000000000001"
    assert kept.late_results == (LATE,)
    assert kept.result == result()


def test_every_write_may_be_repeated(records: SqlJobRecords) -> None:
    for _ in range(2):
        records.open(JOB, HASH, AT)
        records.open_run(JOB, "run1")
        records.settle_run(JOB, "run1", (charge(0), charge(1)), LATE)
        records.close(JOB, result())
    kept = records.get(JOB)
    assert kept is not None
    assert (len(kept.charges), len(kept.late_results), kept.open_runs) == (2, 1, ())


def test_a_key_stands_for_one_payload(records: SqlJobRecords) -> None:
    records.open(JOB, HASH, AT)
    with pytest.raises(KeyConflict, match="aaaaaaaaaaaa"):
        records.open(JOB, OTHER, AT + timedelta(days=1))
    with pytest.raises(KeyConflict):
        records.close(JOB, result(JobState.REJECTED, OTHER))
    kept = records.get(JOB)
    assert kept is not None
    assert (kept.payload_hash, kept.opened, kept.result) == (HASH, AT, None)


def test_the_first_closing_record_stands(records: SqlJobRecords) -> None:
    records.open(JOB, HASH, AT)
    records.close(JOB, result(why="first"))
    records.close(JOB, result(JobState.CANCELLED, why="second"))
    kept = records.get(JOB)
    assert kept is not None
    assert kept.result == result(why="first")


def test_only_a_charge_that_was_not_final_changes(records: SqlJobRecords) -> None:
    records.open(JOB, HASH, AT)
    records.settle_run(JOB, "run1", (charge(0, 0.0, settled=False), charge(1, 5.0)), None)
    records.settle_run(JOB, "run1", (charge(0, 7.0), charge(1, 9.0)), None)
    records.settle_run(JOB, "run2", (charge(0, 8.0),), None)  # an account of another run
    kept = records.get(JOB)
    assert kept is not None
    assert [c.cost.quantum_seconds for c in kept.charges] == [7.0, 5.0]
    assert all(c.cost.settled for c in kept.charges)


def test_what_belongs_to_nothing_is_refused(records: SqlJobRecords) -> None:
    for write in (
        lambda: records.open_run("acme/none", "run1"),
        lambda: records.settle_run("acme/none", "run1", (charge(0),), None),
        lambda: records.close("acme/none", result()),
    ):
        with pytest.raises(NoSuchJob):
            write()
    records.open(JOB, HASH, AT)
    records.open("acme/two", OTHER, AT)
    records.open_run(JOB, "run1")
    with pytest.raises(KeyConflict, match="belongs to job acme/one"):
        records.settle_run("acme/two", "run1", (charge(0),), LATE)
    kept = records.get("acme/two")
    assert kept is not None
    assert (kept.charges, kept.late_results) == ((), ())


def test_a_failed_settlement_leaves_nothing_behind(records: SqlJobRecords) -> None:
    records.open(JOB, HASH, AT)
    spoiled = charge(1).model_copy(update={"backend": None})
    with pytest.raises(Exception, match="NOT NULL"):
        records.settle_run(JOB, "run1", (charge(0), spoiled), None)
    kept = records.get(JOB)
    assert kept is not None
    assert (kept.charges, kept.open_runs) == ((), ())


def test_times_are_kept_in_utc(records: SqlJobRecords) -> None:
    records.open(JOB, HASH, AT.astimezone(timezone(timedelta(hours=9))))
    kept = records.get(JOB)
    assert kept is not None
    assert kept.opened == AT
    assert kept.opened.utcoffset() == timedelta(0)
    with pytest.raises(Exception, match="no time zone"):
        records.open("acme/two", HASH, AT.replace(tzinfo=None))


def test_records_in_memory_are_refused() -> None:
    with pytest.raises(ValueError, match="name a file"):
        SqlJobRecords("sqlite://")


def test_the_safe_settings_of_sqlite_are_on(records: SqlJobRecords) -> None:
    with records._engine.connect() as connection:
        for pragma, wanted in (("journal_mode", "wal"), ("foreign_keys", 1), ("synchronous", 2)):
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == wanted


def race(task: tuple[str, int]) -> str:
    """All writes of one contender for the same job; run in threads and in processes."""
    url, number = task
    records = SqlJobRecords(url)
    try:
        records.open(JOB, HASH if number % 2 else OTHER, AT)
    except KeyConflict:
        return "conflict"
    finally:
        records.dispose()
    mine = HASH if number % 2 else OTHER
    for turn in range(5):
        records.open_run(JOB, f"run{turn}")
        records.settle_run(JOB, f"run{turn}", (charge(turn, float(number)),), None)
        records.get(JOB)
    records.close(JOB, result(payload=mine, why=f"by {number}"))
    records.dispose()
    return mine


@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_contenders_leave_one_payload_one_result_and_each_charge_once(url: str, pool: str) -> None:
    tasks = [(url, number) for number in range(8)]
    if pool == "threads":
        with ThreadPoolExecutor(8) as executor:
            outcomes = list(executor.map(race, tasks))
    else:
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(4, mp_context=context) as executor:
            outcomes = list(executor.map(race, tasks))
    winners = {o for o in outcomes if o != "conflict"}
    assert len(winners) == 1
    assert outcomes.count("conflict") == 4
    records = SqlJobRecords(url)
    kept = records.get(JOB)
    records.dispose()
    assert kept is not None
    assert {kept.payload_hash} == winners
    assert kept.result is not None
    assert [c.provider_job_id for c in kept.charges] == [f"d{turn}" for turn in range(5)]
    assert kept.open_runs == ()
    with sqlite3.connect(url.removeprefix("sqlite:///")) as raw:
        assert raw.execute("SELECT count(*) FROM charges").fetchone() == (5,)


def test_the_tables_are_good_postgresql() -> None:
    ddl = " ".join(
        str(CreateTable(table).compile(dialect=postgresql.dialect()))
        for table in metadata.sorted_tables
    )
    assert "TIMESTAMP WITH TIME ZONE" in ddl
    assert "money NUMERIC NOT NULL" in ddl


if sys.version_info < (3, 13):  # the newest Python that the wheel with the server is made for
    import pgserver

    @pytest.fixture
    def postgres(tmp_path: Path) -> Iterator[str]:
        """A PostgreSQL of our own: no root, no service."""
        server = pgserver.get_server(tmp_path / "pg", cleanup_mode="delete")
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        server.cleanup()

    def test_the_same_on_postgresql(postgres: str) -> None:
        with ThreadPoolExecutor(8) as executor:
            outcomes = list(executor.map(race, [(postgres, number) for number in range(8)]))
        assert outcomes.count("conflict") == 4
        records = SqlJobRecords(postgres)
        kept = records.get(JOB)
        assert kept is not None
        assert len(kept.charges) == 5
        assert str(kept.charges[0].cost.money) == "3.200000000000000000001"
        assert kept.opened == AT
        records.dispose()
