"""Periods, amounts, and what a shortage says."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from qsaga.core.ledger import Amounts, Books, Budget, Period, Shortage, Tenant, Unit

times = st.integers(0, 7 * 10**9).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(at=times, period=st.sampled_from(Period))
def test_a_time_lies_between_the_start_of_its_period_and_the_next(
    at: datetime, period: Period
) -> None:
    began, ends = period.begin(at), period.renews(at)
    assert began <= at
    assert period.begin(began) == began
    if ends is None:
        assert period is Period.EVER
        return
    assert at < ends
    assert period.begin(ends) == ends
    assert period.renews(ends - timedelta(microseconds=1)) == ends
    assert period.begin(ends - timedelta(microseconds=1)) == began


@pytest.mark.parametrize(
    ("period", "began", "ends"),
    [
        (Period.DAY, datetime(2028, 2, 29, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
        (Period.WEEK, datetime(2028, 2, 28, tzinfo=UTC), datetime(2028, 3, 6, tzinfo=UTC)),
        (Period.MONTH, datetime(2028, 2, 1, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
        (Period.YEAR, datetime(2028, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)),
        (Period.EVER, datetime(1970, 1, 1, tzinfo=UTC), None),
    ],
)
def test_periods_are_those_of_utc(period: Period, began: datetime, ends: datetime | None) -> None:
    # In UTC still the 29th of February, a Tuesday.
    at = datetime(2028, 3, 1, 1, tzinfo=timezone(timedelta(hours=5)))
    assert period.begin(at) == began
    assert period.renews(at) == ends


def test_amounts_have_six_places_and_are_not_negative() -> None:
    assert Amounts(money=Decimal("0.0000005")).of(Unit.MONEY) == 0
    assert Amounts(money=Decimal("0.0000015")).of(Unit.MONEY) == Decimal("0.000002")
    assert Amounts(jobs=Decimal(10**12)).of(Unit.JOBS) == 10**12
    for wrong in (Decimal("-0.1"), Decimal("NaN"), Decimal("Infinity"), Decimal(10**12 + 1)):
        with pytest.raises(ValidationError, match="money"):
            Amounts(money=wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"quantum_seconds": {"limit": -1}},
        {"money": {"limit": 1, "period": "hour"}},
        {"jobs": -1},
        {"currency": "euro"},
        {"name": "Acme/2"},
        {"budget": {"limit": 1}},
    ],
)
def test_a_tenant_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Tenant.model_validate({"name": "acme"} | wrong)


def test_jobs_at_work_have_no_period() -> None:
    tenant = Tenant(name="acme", jobs=2, money=Budget(limit=Decimal(5), period=Period.WEEK))
    assert tenant.budget(Unit.JOBS) == Budget(limit=Decimal(2), period=Period.EVER)
    assert tenant.budget(Unit.MONEY) == Budget(limit=Decimal(5), period=Period.WEEK)
    assert tenant.budget(Unit.QUANTUM_SECONDS) is None
    assert Tenant(name="acme").budget(Unit.JOBS) is None


def short(unit: Unit, period: Period, renews: datetime | None, currency: str = "") -> Shortage:
    return Shortage(
        unit=unit,
        wanted=Decimal("4.800000"),
        left=Decimal("-1.250000"),
        limit=Decimal("100.000000"),
        period=period,
        renews=renews,
        currency=currency,
    )


@pytest.mark.parametrize(
    ("shortage", "text"),
    [
        (
            short(Unit.QUANTUM_SECONDS, Period.MONTH, datetime(2026, 12, 1, tzinfo=UTC)),
            (
                "4.8 quantum seconds wanted, tenant 'acme' has -1.25 of 100 left this month",
                "(renews 2026-12-01 00:00 UTC)",
            ),
        ),
        (
            short(Unit.MONEY, Period.EVER, None, "EUR"),
            ("4.8 EUR wanted, tenant 'acme' has -1.25 of 100 left", "(does not renew)"),
        ),
    ],
)
def test_a_shortage_says_what_is_left_and_when_it_renews(
    shortage: Shortage, text: tuple[str, ...]
) -> None:
    for words in text:
        assert words in shortage.text("acme")


def test_a_shortage_of_places_says_how_many_are_taken() -> None:
    full = Shortage(
        unit=Unit.JOBS,
        wanted=Decimal(1),
        left=Decimal(1),
        limit=Decimal(3),
        period=Period.EVER,
        renews=None,
    )
    assert full.text("acme") == (
        "tenant 'acme' has 2 of 3 jobs at work (allowed: wait until one ends)"
    )


def test_books_close_when_nothing_is_left_over() -> None:
    assert Books(sums={"money USD": Decimal("0.000000")}).closed
    assert not Books(sums={"money USD": Decimal("0.000001")}).closed
    assert not Books(sums={}, mismatches=("acme money: held is 1",)).closed
