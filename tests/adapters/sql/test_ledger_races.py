"""Workers that want the same thing at the same time, as processes of their own."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from multiprocessing.synchronize import Barrier

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql import SqlLedger, open_engine
from qsaga.core.errors import InvalidRequest
from qsaga.core.ledger import Amounts, Budget, Hold, Period, Shortage, Tenant, Unit

pytestmark = pytest.mark.timeout(60)
AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
WORKERS, ROUNDS = 3, 12
ACME = Tenant(name="acme", quantum_seconds=Budget(limit=Decimal(1)), jobs=1)


def second(key: str) -> Hold:
    return Hold(key=key, amounts=Amounts(quantum_seconds=Decimal(1), jobs=Decimal(1)))


_STATE: dict[str, Barrier] = {}


def _join(barrier: Barrier) -> None:
    _STATE["barrier"] = barrier


def race(url: str, mine: int, *, same_key: bool) -> list[tuple[Shortage, ...]]:
    """In each round, one second for all; in the answers, who had it."""

    async def run() -> list[tuple[Shortage, ...]]:
        engine = open_engine(url)
        ledger = SqlLedger(engine)
        answers = []
        for number in range(ROUNDS):
            key = f"r{number}" if same_key else f"r{number}-{mine}"
            await asyncio.to_thread(_STATE["barrier"].wait, 30)
            at = AT + timedelta(days=31 * number)  # the next month has a second of its own
            answers.append(await ledger.reserve("acme", f"acme/{number}", (second(key),), at))
            await asyncio.to_thread(_STATE["barrier"].wait, 30)
            if mine == 0:
                for found in await ledger.reservations(f"acme/{number}"):
                    if number < ROUNDS - 1:
                        amounts = Amounts(quantum_seconds=found.held.quantum_seconds)
                        await ledger.settle(
                            found.key, amounts, at, tenant="acme", job_id=found.job_id
                        )
        await engine.dispose()
        return answers

    return asyncio.run(run())


@pytest.fixture(scope="module")
def workers() -> Iterator[ProcessPoolExecutor]:
    """So many processes."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        WORKERS, context, initializer=_join, initargs=(context.Barrier(WORKERS),)
    ) as pool:
        yield pool


async def test_one_of_many_workers_has_the_last_second(
    engine: AsyncEngine, database_url: str, workers: ProcessPoolExecutor
) -> None:
    ledger = SqlLedger(engine)
    await ledger.put_tenant(ACME, AT)
    futures = [workers.submit(race, database_url, n, same_key=False) for n in range(WORKERS)]
    answers = [await asyncio.wrap_future(future) for future in futures]
    for number in range(ROUNDS):
        told = [answer[number] for answer in answers]
        assert Counter(map(bool, told)) == {False: 1, True: WORKERS - 1}, told
        assert all(s.left == 0 for short in told for s in short)
    books = await ledger.books()
    assert books.closed, books
    assert books.held == 1


async def test_workers_that_repeat_the_same_reservation_all_have_it(
    engine: AsyncEngine, database_url: str, workers: ProcessPoolExecutor
) -> None:
    ledger = SqlLedger(engine)
    await ledger.put_tenant(ACME, AT)
    futures = [workers.submit(race, database_url, n, same_key=True) for n in range(WORKERS)]
    assert [await asyncio.wrap_future(future) for future in futures] == [[()] * ROUNDS] * WORKERS
    books = await ledger.books()
    assert books.closed, books
    assert books.held == 1


async def test_calls_of_one_process_that_cross_each_other(engine: AsyncEngine) -> None:
    """Opposite orders of keys, a period that nobody opened, a budget that changes meanwhile."""
    ledger = SqlLedger(engine)
    keys = [f"k{n}" for n in range(6)]
    daily = ACME.model_copy(
        update={"jobs": None, "quantum_seconds": Budget(limit=Decimal(4), period=Period.DAY)}
    )
    weekly = daily.model_copy(
        update={"quantum_seconds": Budget(limit=Decimal(4), period=Period.WEEK)}
    )

    async def reserve(ordered: list[str]) -> None:
        await ledger.reserve("acme", "acme/1", tuple(map(second, ordered)), AT)

    async def settle(key: str) -> None:
        used = Amounts(quantum_seconds=Decimal("0.5"))
        await ledger.settle(key, used, AT, tenant="acme", job_id="acme/1")

    for _ in range(4):
        await asyncio.gather(
            *(reserve([key]) for key in keys),
            reserve(keys),
            reserve(keys[::-1]),
            ledger.put_tenant(daily, AT),
            ledger.put_tenant(weekly, AT),
            *(settle(key) for key in keys[:2]),
            ledger.release(tuple(keys[2:4]), AT, tenant="acme", job_id="acme/1"),
        )
        books = await ledger.books()
        assert books.closed, books
    found = {r.key: r for r in await ledger.reservations("acme/1")}
    (quantum,) = (
        x for x in (await ledger.statement("acme", AT)).lines if x.unit is Unit.QUANTUM_SECONDS
    )
    assert quantum.spent == sum(r.spent.quantum_seconds for r in found.values()) == 1
    assert quantum.held == sum(r.held.quantum_seconds for r in found.values())
    assert {found[key].state for key in keys[2:4]} == {"released"}


async def test_no_money_slips_through_a_change_of_currency(engine: AsyncEngine) -> None:
    ledger = SqlLedger(engine)
    dollars = Tenant(name="acme", money=Budget(limit=Decimal(100)))
    euros = dollars.model_copy(update={"currency": "EUR"})
    for number in range(6):
        await ledger.put_tenant(dollars, AT)
        wanted = Hold(key=f"k{number}", amounts=Amounts(money=Decimal(1)))
        booked, changed = await asyncio.gather(
            ledger.reserve("acme", "acme/1", (wanted,), AT),
            ledger.put_tenant(euros, AT),
            return_exceptions=True,
        )
        refusals = [answer for answer in (booked, changed) if isinstance(answer, InvalidRequest)]
        assert len(refusals) == 1, (booked, changed)
        await ledger.release((wanted.key,), AT, tenant="acme", job_id="acme/1")
    assert (await ledger.books()).closed


async def test_a_server_that_hung_up_is_asked_again(engine: AsyncEngine) -> None:
    ledger = SqlLedger(engine)
    await ledger.put_tenant(ACME.model_copy(update={"jobs": None}), AT)
    await asyncio.gather(
        *(ledger.release((f"k{n}",), AT, tenant="acme", job_id="j") for n in "abc")
    )
    if engine.dialect.name == "postgresql":
        async with engine.connect() as connection:
            await connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
    else:
        with ledger._writer._direct.connect() as connection:
            connection.connection.dbapi_connection.close()
    assert await ledger.reserve("acme", "acme/1", (second("a"),), AT) == ()
    assert [r.key for r in await ledger.held()] == ["a"]


def die(url: str) -> None:
    """Reserve, and be killed when all is written but the balances."""
    engine = open_engine(url)
    ledger = SqlLedger(engine)

    @event.listens_for(ledger._writer._direct, "before_cursor_execute")
    def _kill(_c: object, _cursor: object, sql: str, *_: object) -> None:
        if "UPDATE ledger_accounts" in sql:
            os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(ledger.reserve("acme", "acme/1", (second("a"),), AT))


async def test_a_worker_that_is_killed_leaves_nothing_and_holds_nobody_up(
    engine: AsyncEngine, database_url: str
) -> None:
    ledger = SqlLedger(engine)
    await ledger.put_tenant(ACME, AT)
    victim = multiprocessing.get_context("spawn").Process(target=die, args=(database_url,))
    victim.start()
    await asyncio.to_thread(victim.join, 30)
    assert victim.exitcode == -signal.SIGKILL
    assert await ledger.held() == ()
    books = await ledger.books()
    assert books.closed, books
    assert await ledger.reserve("acme", "acme/1", (second("a"),), AT) == ()
