"""The audit log: what can be written, what cannot be changed, and what shows if it was."""

from __future__ import annotations

import asyncio
from datetime import timedelta, timezone

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql import SqlAuditLog, _audit
from qsaga.core.contract import canonical_json, digest
from qsaga.core.records import AuditRow
from tests.adapters.sql.samples import AT, entry, in_processes, note_ten

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def log(engine: AsyncEngine) -> SqlAuditLog:
    return SqlAuditLog(engine)


async def change(engine: AsyncEngine, *statements: str) -> None:
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def unlock(engine: AsyncEngine) -> None:
    """What somebody would have to do who owns the database."""
    if engine.dialect.name == "sqlite":
        await change(engine, *(f"DROP TRIGGER audit_no_{what}" for what in ("update", "delete")))
    else:
        await change(engine, "DROP TRIGGER audit_append_only ON audit")


async def test_entries_are_numbered_and_chained(log: SqlAuditLog) -> None:
    assert await log.broken() == ""
    detail = {"amount": 1.0, "names": ["ä", None], "odd": "\x00"}
    await log.note(entry("one", tenant="acme", subject="acme/one", reason="why", detail=detail))
    await log.note(entry("two", verified=False))
    one, two = await log.entries()
    assert (one.number, two.number) == (1, 2)
    assert one.entry.detail == detail
    assert (one.previous, two.previous) == ("0" * 64, one.hash)
    assert two.hash == digest(one.hash, canonical_json(two.entry.model_dump(mode="json")))
    assert await log.broken() == ""


async def test_the_same_id_is_written_once(log: SqlAuditLog) -> None:
    await log.note(entry("one"))
    await log.note(entry("one", who="eve"))
    await log.note(entry("two"))
    assert [(row.number, row.entry.who) for row in await log.entries()] == [
        (1, "ann"),
        (2, "ann"),
    ]


async def test_entries_are_found(log: SqlAuditLog) -> None:
    for number in range(6):
        await log.note(
            entry(
                str(number),
                tenant="acme" if number % 2 else "beta",
                subject=f"job{number // 2}",
                at=AT + timedelta(days=number),
            )
        )

    def ids(rows: tuple[AuditRow, ...]) -> str:
        return "".join(row.entry.id for row in rows)

    assert ids(await log.entries()) == "012345"
    assert ids(await log.entries(limit=2)) == "45"
    assert ids(await log.entries(tenant="acme")) == "135"
    assert ids(await log.entries(tenant="acme", limit=1)) == "5"
    assert ids(await log.entries(subject="job1")) == "23"
    assert ids(await log.entries(since=AT + timedelta(days=4))) == "45"
    assert ids(await log.entries(tenant="acme", subject="job0")) == "1"


async def test_times_and_texts_are_hashed_as_they_are_kept(log: SqlAuditLog) -> None:
    at = AT.astimezone(timezone(timedelta(hours=-7)))
    await log.note(entry("\x00one", at=at, who="a\x00b", reason="\x00"))
    (row,) = await log.entries()
    assert (row.entry.at, row.entry.at.utcoffset()) == (AT, timedelta(0))
    assert row.entry.who == "a\ufffdb"
    assert await log.broken() == ""
    with pytest.raises(ValueError, match="no time zone"):
        await log.note(entry("two", at=AT.replace(tzinfo=None)))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET reason = 'x'",
        "UPDATE audit SET reason = reason WHERE number = 1",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE number = 2",
        "TRUNCATE audit",
        "INSERT {or_replace} INTO audit SELECT 1, 'x', {rest} WHERE number = 2 {on_conflict}",
        "INSERT {or_replace} INTO audit SELECT 9, id, {rest} WHERE number = 2",
    ],
)
async def test_the_database_itself_refuses_any_change(
    log: SqlAuditLog, engine: AsyncEngine, statement: str
) -> None:
    await log.note(entry("one"))
    await log.note(entry("two"))
    before = await log.entries()
    sqlite = engine.dialect.name == "sqlite"
    statement = statement.format(
        or_replace="OR REPLACE" if sqlite else "",
        rest="at, who, verified, action, tenant, subject, reason, detail, previous, hash"
        " FROM audit",
        on_conflict="" if sqlite else "ON CONFLICT (number) DO UPDATE SET id = excluded.id",
    )
    # SQLite has no TRUNCATE; PostgreSQL has no REPLACE, so there the key refuses the second id.
    with pytest.raises(DBAPIError, match=r"append-only|syntax error|uq_audit_id"):
        await change(engine, statement)
    assert await log.entries() == before


async def test_a_replaying_session_of_postgresql_is_refused_too(
    log: SqlAuditLog, engine: AsyncEngine
) -> None:
    await log.note(entry("one"))
    replaying = ["SET LOCAL session_replication_role = replica"]
    if engine.dialect.name == "sqlite":
        replaying = ["PRAGMA recursive_triggers = OFF"]
    with pytest.raises(DBAPIError, match="append-only"):
        await change(engine, *replaying, "DELETE FROM audit")
    assert len(await log.entries()) == 1


@pytest.mark.parametrize(
    ("tampering", "finding"),
    [
        ("UPDATE audit SET reason = 'x' WHERE number = 5", "number 5 does not say"),
        ("UPDATE audit SET verified = NOT verified WHERE number = 3", "number 3 does not say"),
        ("UPDATE audit SET hash = previous WHERE number = 4", "number 4 does not say"),
        ("UPDATE audit SET previous = hash WHERE number = 4", "number 4 does not follow"),
        ("DELETE FROM audit WHERE number = 2", "number 2 is missing"),
        ("DELETE FROM audit WHERE number = 1", "number 1 is missing"),
        ("UPDATE audit SET detail = 'x' WHERE number = 6", "number 6 cannot be read"),
        ("UPDATE audit SET action = 'x' WHERE number = 7", "number 7 cannot be read"),
    ],
)
async def test_tampering_shows(
    log: SqlAuditLog,
    engine: AsyncEngine,
    monkeypatch: pytest.MonkeyPatch,
    tampering: str,
    finding: str,
) -> None:
    monkeypatch.setattr(_audit, "_PAGE", 3)
    for number in range(8):
        await log.note(entry(str(number)))
    assert await log.broken() == ""
    await unlock(engine)
    await change(engine, tampering)
    assert (await log.broken()).startswith(finding)


async def test_writers_in_several_processes_take_their_turn(
    log: SqlAuditLog, database_url: str
) -> None:
    await asyncio.to_thread(in_processes, note_ten, [(database_url, n) for n in range(4)], 2)
    rows = await log.entries(limit=1000)
    assert [row.number for row in rows] == list(range(1, 42))
    assert {row.entry.id for row in rows} == {
        "everybody",
        *(f"{number}-{turn}" for number in range(4) for turn in range(10)),
    }
    assert await log.broken() == ""
