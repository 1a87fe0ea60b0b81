"""Any sequence of calls: the books close, and a model without accounts says the same."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.sql import SqlLedger
from qsaga.core.ledger import Amounts, Budget, Hold, Ledger, Period, Tenant, Unit
from tests.support.databases import migrated_engine

pytestmark = pytest.mark.timeout(60)
START = datetime(2026, 12, 28, 22, tzinfo=UTC)  # near the end of a day, a month and a year
KEYS = ("a", "b", "c")
ZERO = dict.fromkeys(Unit, Decimal(0))

small = st.sampled_from([Decimal(n) for n in ("0", "0", "0.000001", "1.5", "3", "7")])
used = st.fixed_dictionaries(dict.fromkeys(Unit, small))
budgets = st.none() | st.builds(
    Budget, limit=st.sampled_from([Decimal(0), Decimal(5), Decimal(12)]), period=...
)
terms = st.fixed_dictionaries(
    {
        "quantum_seconds": budgets,
        "money": budgets,
        "classical_seconds": budgets,
        "jobs": st.sampled_from([None, 0, 5, 12]),
    }
)
steps = st.one_of(
    st.tuples(st.just("put"), terms),
    st.tuples(
        st.just("reserve"), st.dictionaries(st.sampled_from(KEYS), used, min_size=1, max_size=2)
    ),
    st.tuples(
        st.just("reserve"), st.dictionaries(st.sampled_from(KEYS), used, min_size=1, max_size=2)
    ),
    st.tuples(st.just("settle"), st.tuples(st.sampled_from(KEYS), used)),
    st.tuples(st.just("release"), st.sets(st.sampled_from(KEYS), min_size=1)),
    st.tuples(st.just("wait"), st.sampled_from([1, 5, 24 * 3, 24 * 31])),
)


@dataclass
class Kept:
    """One reservation: since when, and how much of each unit."""

    state: str
    at: datetime
    amounts: dict[Unit, Decimal]


@dataclass
class Model:
    """What was reserved when; what is used of a budget is added up anew each time."""

    tenant: Tenant | None = None
    kept: dict[str, Kept] = field(default_factory=dict)

    def period(self, unit: Unit) -> Period:
        budget = self.tenant.budget(unit) if self.tenant else None
        if budget is not None:
            return budget.period
        return Period.EVER if unit is Unit.JOBS else Period.MONTH

    def limit(self, unit: Unit) -> Decimal | None:
        budget = self.tenant.budget(unit) if self.tenant else None
        return None if budget is None else budget.limit

    def total(self, unit: Unit, state: str, at: datetime) -> Decimal:
        began = self.period(unit).begin(at)
        return sum(
            (
                kept.amounts[unit]
                for kept in self.kept.values()
                if kept.state == state and self.period(unit).begin(kept.at) == began
            ),
            Decimal(0),
        )

    def use(self, unit: Unit, at: datetime) -> Decimal:
        return self.total(unit, "held", at) + self.total(unit, "settled", at)

    def reserve(self, holds: dict[str, dict[Unit, Decimal]], at: datetime) -> set[Unit]:
        """The units that are short."""
        before, now = dict(self.kept), {unit: self.use(unit, at) for unit in Unit}
        for key, amounts in holds.items():
            old = self.kept.get(key)
            if old is not None and old.state != "held":
                continue
            grows = old is None or any(amounts[unit] > old.amounts[unit] for unit in Unit)
            self.kept[key] = Kept("held", at if old is None or grows else old.at, amounts)
        short = set()
        for unit in Unit:
            use, limit = self.use(unit, at), self.limit(unit)
            if limit is not None and use > now[unit] and use > limit:
                short.add(unit)
        if short:
            self.kept = before
        return short

    def settle(self, key: str, amounts: dict[Unit, Decimal], at: datetime) -> None:
        old = self.kept.get(key)
        spent = amounts | {Unit.JOBS: Decimal(0)}
        self.kept[key] = Kept("settled", old.at if old else at, spent)

    def release(self, keys: set[str], at: datetime) -> None:
        for key in keys:
            old = self.kept.setdefault(key, Kept("released", at, ZERO))
            if old.state == "held":
                self.kept[key] = Kept("released", old.at, ZERO)


def amounts(of: dict[Unit, Decimal]) -> Amounts:
    return Amounts(**{unit.value: value for unit, value in of.items()})


async def follow(ledger: Ledger, name: str, told: list[tuple[str, object]]) -> None:
    """Do the steps on the ledger and on the model, and compare after each."""
    model, at = Model(), START

    def key(short: str) -> str:
        return f"{name}/{short}"

    for what, given_to in told:
        match what, given_to:
            case "put", dict() as changes:
                model.tenant = Tenant(name=name, **changes)
                await ledger.put_tenant(model.tenant, at)
            case "reserve", dict() as holds:
                asked = tuple(Hold(key=key(k), amounts=amounts(v)) for k, v in holds.items())
                foretold = await ledger.shortages(name, asked, at)
                shortages = await ledger.reserve(name, name, asked, at)
                assert foretold == shortages
                assert {s.unit for s in shortages} == model.reserve(holds, at)
                assert all(s.wanted > s.left for s in shortages)
            case "settle", (str() as one, dict() as spent):
                await ledger.settle(key(one), amounts(spent), at, tenant=name, job_id=name)
                model.settle(one, spent, at)
            case "release", set() as some:
                await ledger.release(tuple(map(key, some)), at, tenant=name, job_id=name)
                model.release(some, at)
            case "wait", int() as hours:
                at += timedelta(hours=hours)
            case _:
                raise AssertionError(what)
        await compare(ledger, name, model, at)


async def compare(ledger: Ledger, name: str, model: Model, at: datetime) -> None:
    books = await ledger.books()
    assert books.closed, books
    found = {r.key.removeprefix(f"{name}/"): r for r in await ledger.reservations(name)}
    assert found.keys() == model.kept.keys()
    for key, kept in model.kept.items():
        now = found[key]
        assert (now.state, now.at) == (kept.state, kept.at)
        assert now.held == amounts(kept.amounts if kept.state == "held" else ZERO)
        assert now.spent == amounts(kept.amounts if kept.state == "settled" else ZERO)
    if model.tenant is None:
        return
    statement = await ledger.statement(name, at)
    lines = {line.unit: line for line in statement.lines}
    for unit in Unit:
        held, spent = model.total(unit, "held", at), model.total(unit, "settled", at)
        limit, line = model.limit(unit), lines.get(unit)
        if line is None:
            assert (limit, held, spent) == (None, 0, 0)
            continue
        assert (line.limit, line.held, line.spent) == (limit, held, spent)
        assert line.left == (None if limit is None else limit - held - spent)
        assert line.held >= 0
        assert (line.period, line.began) == (model.period(unit), model.period(unit).begin(at))
    assert {r.key for r in statement.reservations} == {
        f"{name}/{key}" for key, kept in model.kept.items() if kept.state == "held"
    }


def test_the_books_close_after_every_step(database_url: str) -> None:
    numbers = count()
    with asyncio.Runner() as runner:
        opened = migrated_engine(database_url)
        ledger = SqlLedger(runner.run(opened.__aenter__()))

        @settings(
            max_examples=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(told=st.lists(steps, min_size=6, max_size=14))
        def check(told: list[tuple[str, object]]) -> None:
            runner.run(follow(ledger, f"t{next(numbers)}", told))

        try:
            check()
        finally:
            runner.run(opened.__aexit__(None, None, None))
