"""What the ledger books, call by call; after each test the books close."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import delete, text
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql import SqlLedger
from adapters.sql._ledger_tables import accounts, entries, reservations, tenants, transfers
from qsaga.core.errors import InvalidRequest, KeyConflict
from qsaga.core.ledger import (
    Amounts,
    Budget,
    Hold,
    Ledger,
    Line,
    Period,
    Reservation,
    Tenant,
    Unit,
)
from tests.support.databases import BACKENDS, fresh_database, migrated_engine

pytestmark = pytest.mark.timeout(60)
AT = datetime(2026, 11, 21, 12, tzinfo=UTC)  # a Saturday
NEXT_MONTH = datetime(2026, 12, 1, tzinfo=UTC)
ACME = Tenant(
    name="acme",
    quantum_seconds=Budget(limit=Decimal(100)),
    money=Budget(limit=Decimal(50)),
    jobs=2,
)


@pytest.fixture(scope="module", params=BACKENDS)
async def migrated(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AsyncEngine]:
    """One database for all tests here: making one takes longer than a test."""
    with fresh_database(request.param, tmp_path_factory.mktemp("ledger")) as url:
        async with migrated_engine(url) as made:
            yield made


@pytest.fixture
async def engine(migrated: AsyncEngine) -> AsyncEngine:
    """Its ledger is empty."""
    async with migrated.begin() as connection:
        for table in (tenants, accounts, reservations, transfers, entries):
            await connection.execute(delete(table))
    return migrated


@pytest.fixture
async def ledger(engine: AsyncEngine) -> AsyncIterator[Ledger]:
    """With the tenant ``acme``."""
    made: Ledger = SqlLedger(engine)
    await made.put_tenant(ACME, AT)
    yield made
    books = await made.books()
    assert books.closed, books


def amounts(quantum: float = 0, money: float = 0, classical: float = 0, jobs: int = 0) -> Amounts:
    return Amounts(
        quantum_seconds=Decimal(str(quantum)),
        money=Decimal(str(money)),
        classical_seconds=Decimal(str(classical)),
        jobs=Decimal(jobs),
    )


def hold(key: str, currency: str = "USD", **used: Any) -> Hold:
    return Hold(key=key, amounts=amounts(**used), currency=currency)


async def settle(ledger: Ledger, key: str, at: datetime = AT, **used: Any) -> None:
    currency = used.pop("currency", "USD")
    await ledger.settle(key, amounts(**used), at, tenant="acme", job_id="acme/1", currency=currency)


async def release(ledger: Ledger, *keys: str, at: datetime = AT) -> None:
    await ledger.release(keys, at, tenant="acme", job_id="acme/1")


async def line(ledger: Ledger, unit: Unit, at: datetime = AT, currency: str = "") -> Line:
    lines = (await ledger.statement("acme", at)).lines
    (found,) = (x for x in lines if x.unit is unit and (not currency or x.currency == currency))
    return found


async def one(ledger: Ledger, key: str) -> Reservation:
    (found,) = (r for r in await ledger.reservations("acme/1") if r.key == key)
    return found


async def test_what_is_held_is_settled_and_the_rest_given_back(ledger: Ledger) -> None:
    holds = (hold("acme/1", jobs=1, classical=5), hold("tag", quantum=10.5, money=16.8))
    assert await ledger.reserve("acme", "acme/1", holds, AT) == ()
    quantum = await line(ledger, Unit.QUANTUM_SECONDS)
    assert (quantum.held, quantum.spent, quantum.left) == (Decimal("10.5"), 0, Decimal("89.5"))
    assert (quantum.began, quantum.renews) == (datetime(2026, 11, 1, tzinfo=UTC), NEXT_MONTH)
    assert await one(ledger, "tag") == Reservation(
        key="tag",
        tenant="acme",
        job_id="acme/1",
        state="held",
        held=amounts(quantum=10.5, money=16.8),
        at=AT,
    )

    await settle(ledger, "tag", quantum=3.2, money=5.12)
    await release(ledger, "acme/1")

    kept = {x.unit: x for x in (await ledger.statement("acme", AT)).lines}
    quantum = kept[Unit.QUANTUM_SECONDS]
    assert (quantum.held, quantum.spent) == (0, Decimal("3.2"))
    assert (kept[Unit.MONEY].left, kept[Unit.MONEY].currency) == (Decimal("44.88"), "USD")
    assert (kept[Unit.JOBS].held, kept[Unit.JOBS].left) == (0, 2)
    assert (await one(ledger, "tag")).spent == amounts(quantum=3.2, money=5.12)
    assert (await one(ledger, "acme/1")).state == "released"
    assert await ledger.held() == ()


async def test_all_or_nothing_and_every_unit_that_is_short_is_named(ledger: Ledger) -> None:
    assert await ledger.reserve("acme", "acme/1", (hold("a", quantum=60, money=20),), AT) == ()
    holds = (hold("b", jobs=1), hold("c", quantum=30), hold("d", quantum=10.000001, money=30.5))
    told = await ledger.shortages("acme", holds, AT)
    assert await ledger.reserve("acme", "acme/1", holds, AT) == told
    found = [(s.unit, s.wanted, s.left, s.limit, s.period, s.renews, s.currency) for s in told]
    assert found == [
        (
            Unit.QUANTUM_SECONDS,
            Decimal("40.000001"),
            Decimal(40),
            Decimal(100),
            Period.MONTH,
            NEXT_MONTH,
            "",
        ),
        (Unit.MONEY, Decimal("30.5"), Decimal(30), Decimal(50), Period.MONTH, NEXT_MONTH, "USD"),
    ]
    assert [r.key for r in await ledger.reservations("acme/1")] == ["a"]
    assert (await line(ledger, Unit.JOBS)).held == 0
    # To the last millionth.
    assert await ledger.reserve("acme", "acme/1", (hold("e", quantum=40),), AT) == ()
    assert (await line(ledger, Unit.QUANTUM_SECONDS)).left == 0


async def test_jobs_at_work_are_counted_and_leave(ledger: Ledger) -> None:
    for key in ("one", "two"):
        assert await ledger.reserve("acme", "acme/1", (hold(key, jobs=1),), AT) == ()
    (full,) = await ledger.reserve("acme", "acme/1", (hold("three", jobs=1),), AT)
    assert "2 of 2 jobs at work" in full.text("acme")
    await settle(ledger, "one", jobs=1, classical=3)
    assert await ledger.reserve("acme", "acme/1", (hold("three", jobs=1),), AT) == ()
    assert (await line(ledger, Unit.JOBS)).spent == 0


async def test_reserving_again_changes_what_is_held(ledger: Ledger) -> None:
    assert await ledger.reserve("acme", "acme/1", (hold("a", quantum=60, money=5),), AT) == ()
    later = AT + timedelta(hours=1)
    for wanted in (60, 20, 100):
        assert await ledger.reserve("acme", "acme/1", (hold("a", quantum=wanted),), later) == ()
        assert (await line(ledger, Unit.QUANTUM_SECONDS)).held == wanted
    (short,) = await ledger.reserve("acme", "acme/1", (hold("a", quantum=101),), later)
    assert (short.wanted, short.left) == (101, 100)  # what it holds is left to it
    assert (await one(ledger, "a")).held == amounts(quantum=100)


async def test_a_late_repeat_holds_nothing(ledger: Ledger) -> None:
    assert await ledger.reserve("acme", "acme/1", (hold("a", quantum=60),), AT) == ()
    await settle(ledger, "a", quantum=1)
    await release(ledger, "never")
    for key, state in (("a", "settled"), ("never", "released")):
        assert await ledger.reserve("acme", "acme/1", (hold(key, quantum=1000),), AT) == ()
        assert await ledger.shortages("acme", (hold(key, quantum=1000),), AT) == ()
        assert (await one(ledger, key)).state == state
    assert (await line(ledger, Unit.QUANTUM_SECONDS)).held == 0
    assert await ledger.held("acme") == ()


async def test_settling_again_adjusts_and_releasing_what_is_settled_does_not(
    ledger: Ledger, engine: AsyncEngine
) -> None:
    assert await ledger.reserve("acme", "acme/1", (hold("a", quantum=6),), AT) == ()

    async def transfers() -> int:
        async with engine.connect() as connection:
            query = text("SELECT count(*) FROM ledger_transfers WHERE kind = 'settle'")
            return int(await connection.scalar(query) or 0)

    for used, written in ((4, 1), (4, 0), (130.5, 1), (2, 1)):
        before = await transfers()
        await settle(ledger, "a", quantum=used, money=used)
        await release(ledger, "a")
        assert (await line(ledger, Unit.QUANTUM_SECONDS)).spent == Decimal(str(used))
        assert (await line(ledger, Unit.QUANTUM_SECONDS)).left == 100 - Decimal(str(used))
        assert await transfers() == before + written


async def test_what_was_unused_is_given_back_with_what_is_settled(ledger: Ledger) -> None:
    holds = (hold("a", classical=5), hold("b", quantum=6), hold("c", quantum=7))
    assert await ledger.reserve("acme", "acme/1", holds, AT) == ()
    await settle(ledger, "c", quantum=2)
    for _ in range(2):  # the repeat of a call whose answer was lost
        await ledger.settle(
            "a",
            amounts(classical=1),
            AT,
            tenant="acme",
            job_id="acme/1",
            unused=("a", "b", "c", "d"),
        )
    found = {one.key: one.state for one in await ledger.reservations("acme/1")}
    assert found == {"a": "settled", "b": "released", "c": "settled", "d": "released"}
    quantum = await line(ledger, Unit.QUANTUM_SECONDS)
    assert (quantum.held, quantum.spent) == (0, 2)
    assert (await ledger.books()).closed


async def test_over_use_is_booked_and_shown(ledger: Ledger) -> None:
    assert await ledger.reserve("acme", "acme/1", (hold("a", quantum=100),), AT) == ()
    await settle(ledger, "a", quantum=104.25)
    assert (await line(ledger, Unit.QUANTUM_SECONDS)).left == Decimal("-4.25")
    (short,) = await ledger.reserve("acme", "acme/1", (hold("b", quantum=1),), AT)
    assert short.left == Decimal("-4.25")
    assert await ledger.reserve("acme", "acme/1", (hold("c", money=1),), AT) == ()


async def test_what_was_never_held_or_was_released_is_booked(ledger: Ledger) -> None:
    await settle(ledger, "new", quantum=3)
    assert await ledger.reserve("acme", "acme/1", (hold("a", quantum=6),), AT) == ()
    await release(ledger, "a", "b")
    await settle(ledger, "a", quantum=5)
    await settle(ledger, "b", quantum=7, money=1)
    assert (await line(ledger, Unit.QUANTUM_SECONDS)).spent == 15
    assert {r.state for r in await ledger.reservations("acme/1")} == {"settled"}


async def test_a_reservation_is_charged_to_the_period_it_was_made_in(ledger: Ledger) -> None:
    before, after = NEXT_MONTH - timedelta(seconds=1), NEXT_MONTH
    assert await ledger.reserve("acme", "acme/1", (hold("a", quantum=80),), before) == ()
    assert await ledger.reserve("acme", "acme/1", (hold("b", quantum=80),), after) == ()
    # The repeat of a call whose answer was lost at midnight.
    assert await ledger.reserve("acme", "acme/1", (hold("a", quantum=80),), after) == ()
    await settle(ledger, "a", after, quantum=70, money=9)
    assert (await line(ledger, Unit.QUANTUM_SECONDS, before)).left == 30
    assert (await line(ledger, Unit.MONEY, before)).spent == 9
    quantum = await line(ledger, Unit.QUANTUM_SECONDS, after)
    assert (quantum.held, quantum.spent, quantum.left) == (80, 0, 20)
    # What grows is held in the period in which it grows.
    assert await ledger.reserve("acme", "acme/1", (hold("c", quantum=10),), before) == ()
    assert await ledger.reserve("acme", "acme/1", (hold("c", quantum=15),), after) == ()
    assert (await line(ledger, Unit.QUANTUM_SECONDS, before)).held == 0
    assert (await line(ledger, Unit.QUANTUM_SECONDS, after)).left == 5


async def test_a_budget_that_changes_counts_at_once(ledger: Ledger) -> None:
    assert await ledger.reserve("acme", "acme/1", (hold("a", quantum=80),), AT) == ()
    less = ACME.model_copy(update={"quantum_seconds": Budget(limit=Decimal(30))})
    await ledger.put_tenant(less, AT)
    quantum = await line(ledger, Unit.QUANTUM_SECONDS)
    assert (quantum.limit, quantum.held, quantum.left) == (30, 80, -50)
    assert await ledger.reserve("acme", "acme/1", (hold("a", quantum=80),), AT) == ()
    assert await ledger.reserve("acme", "acme/1", (hold("a", quantum=79),), AT) == ()
    assert len(await ledger.reserve("acme", "acme/1", (hold("b", quantum=1),), AT)) == 1
    await ledger.put_tenant(ACME.model_copy(update={"quantum_seconds": None}), AT)
    assert await ledger.reserve("acme", "acme/1", (hold("b", quantum=10**6),), AT) == ()
    assert (await line(ledger, Unit.QUANTUM_SECONDS)).left is None
    assert await ledger.tenant("acme") == ACME.model_copy(update={"quantum_seconds": None})


async def test_a_budget_of_another_period_counts_what_was_reserved_in_it(ledger: Ledger) -> None:
    yesterday = AT - timedelta(days=1)
    assert await ledger.reserve("acme", "acme/1", (hold("a", quantum=8),), yesterday) == ()
    assert await ledger.reserve("acme", "acme/1", (hold("b", quantum=4),), AT) == ()
    await settle(ledger, "c", quantum=2)
    assert await ledger.reserve("acme", "acme/1", (hold("d", quantum=1),), AT) == ()
    await release(ledger, "d")
    daily = Budget(limit=Decimal(10), period=Period.DAY)
    await ledger.put_tenant(ACME.model_copy(update={"quantum_seconds": daily}), AT)
    quantum = await line(ledger, Unit.QUANTUM_SECONDS)
    assert (quantum.period, quantum.held, quantum.spent, quantum.left) == (Period.DAY, 4, 2, 4)
    await settle(ledger, "d", quantum=3)
    assert (await line(ledger, Unit.QUANTUM_SECONDS)).left == 1
    await settle(ledger, "a", quantum=8)
    assert (await line(ledger, Unit.QUANTUM_SECONDS)).left == 1
    await ledger.put_tenant(ACME, AT)
    quantum = await line(ledger, Unit.QUANTUM_SECONDS)
    assert (quantum.held, quantum.spent, quantum.left) == (4, 13, 83)


async def test_a_tenant_whom_nobody_set_up_has_no_limits(ledger: Ledger) -> None:
    holds = (hold("x", "EUR", quantum=10**9, money=10**6, jobs=500),)
    assert await ledger.reserve("other", "other/1", holds, AT) == ()
    assert await ledger.tenant("other") is None
    (kept,) = await ledger.held("other")
    assert (kept.held, kept.currency) == (holds[0].amounts, "EUR")
    with pytest.raises(InvalidRequest) as refused:
        await ledger.statement("other", AT)
    assert refused.value.field == "tenant"
    # What he used counts once he is set up.
    await ledger.put_tenant(ACME.model_copy(update={"name": "other", "currency": "EUR"}), AT)
    found = {x.unit: x.left for x in (await ledger.statement("other", AT)).lines}
    assert found[Unit.MONEY] == 50 - 10**6
    assert found[Unit.JOBS] == -498


async def test_money_of_another_currency_is_refused_before_and_booked_after(ledger: Ledger) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await ledger.reserve("acme", "acme/1", (hold("a", "EUR", money=1),), AT)
    assert (refused.value.field, refused.value.allowed) == ("budgets.currency", "USD")
    assert await ledger.reserve("acme", "acme/1", (hold("a", "EUR", quantum=1),), AT) == ()
    assert await ledger.reserve("acme", "acme/1", (hold("b", money=3),), AT) == ()
    await settle(ledger, "b", money=2, currency="EUR")
    assert (await one(ledger, "b")).currency == "EUR"
    assert (await line(ledger, Unit.MONEY, currency="USD")).left == 50
    foreign = await line(ledger, Unit.MONEY, currency="EUR")
    assert (foreign.spent, foreign.limit, foreign.left) == (2, None, None)
    assert (await ledger.books()).sums.keys() >= {"money EUR", "money USD", "quantum_seconds"}


@pytest.mark.parametrize("spend", [False, True])
async def test_the_currency_stays_while_money_is_held_or_spent(
    ledger: Ledger, *, spend: bool
) -> None:
    euros = ACME.model_copy(update={"currency": "EUR"})
    await ledger.put_tenant(euros, AT)
    await ledger.put_tenant(ACME, AT)
    assert await ledger.reserve("acme", "acme/1", (hold("a", money=3),), AT) == ()
    if spend:
        await settle(ledger, "a", money=3)
    with pytest.raises(InvalidRequest, match="spent this month" if spend else "held") as refused:
        await ledger.put_tenant(euros, AT)
    assert (refused.value.field, refused.value.allowed) == ("currency", "USD")
    assert await ledger.tenant("acme") == ACME
    if spend:
        await ledger.put_tenant(euros, NEXT_MONTH)
        assert (await line(ledger, Unit.MONEY, NEXT_MONTH)).left == 50


async def test_statements_show_every_unit_with_a_budget_or_a_use(ledger: Ledger) -> None:
    shown = (await ledger.statement("acme", AT)).lines
    assert [x.unit for x in shown] == [Unit.QUANTUM_SECONDS, Unit.MONEY, Unit.JOBS]
    await settle(ledger, "x", classical=2.5)
    assert await ledger.reserve("acme", "acme/1", (hold("late", jobs=1),), AT) == ()
    early = AT - timedelta(days=40)
    assert await ledger.reserve("acme", "acme/0", (hold("early", money=1),), early) == ()
    found = await ledger.statement("acme", AT)
    classical = next(x for x in found.lines if x.unit is Unit.CLASSICAL_SECONDS)
    assert (classical.limit, classical.spent, classical.left) == (None, Decimal("2.5"), None)
    assert [r.key for r in found.reservations] == ["early", "late"]
    assert found.tenant == ACME


async def test_tenants_are_listed_by_name(ledger: Ledger) -> None:
    for name in ("zeta", "acme.2", "acme-1"):
        await ledger.put_tenant(Tenant(name=name), AT)
    assert [t.name for t in await ledger.tenants()] == ["acme", "acme-1", "acme.2", "zeta"]


async def test_bad_calls_are_refused(ledger: Ledger) -> None:
    naive = AT.replace(tzinfo=None)
    for call in (
        ledger.put_tenant(ACME, naive),
        ledger.reserve("acme", "acme/1", (hold("a", money=1),), naive),
        ledger.shortages("acme", (hold("a", money=1),), naive),
        ledger.settle("a", amounts(), naive, tenant="acme", job_id="acme/1"),
        ledger.release(("a",), naive, tenant="acme", job_id="acme/1"),
        ledger.statement("acme", naive),
    ):
        with pytest.raises(InvalidRequest) as refused:
            await call
        assert refused.value.field == "at"
    with pytest.raises(InvalidRequest) as refused:
        await ledger.reserve("acme", "acme/1", (hold("a", money=1), hold("a", jobs=1)), AT)
    assert refused.value.field == "holds.1.key"
    await settle(ledger, "a", quantum=1)
    for foreign in (
        ledger.reserve("other", "acme/1", (hold("a", money=1),), AT),
        ledger.settle("a", amounts(), AT, tenant="other", job_id="acme/1"),
        ledger.release(("a",), AT, tenant="other", job_id="acme/1"),
    ):
        with pytest.raises(KeyConflict, match="another tenant"):
            await foreign
    assert (await one(ledger, "a")).spent == amounts(quantum=1)


async def test_times_of_any_zone_are_the_same_times(ledger: Ledger) -> None:
    # Already December there, still November in UTC.
    east = datetime(2026, 12, 1, 1, tzinfo=timezone(timedelta(hours=9)))
    assert await ledger.reserve("acme", "acme/1", (hold("a", quantum=5),), east) == ()
    assert (await line(ledger, Unit.QUANTUM_SECONDS)).held == 5
    assert (await one(ledger, "a")).at == east
