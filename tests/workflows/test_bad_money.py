"""People and money asked for in ways that cannot be: refused by name, nothing held, no key lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import ValidationError
from temporalio.testing import WorkflowEnvironment

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.errors import InvalidRequest
from qsaga.core.states import JobState, Rung
from tests.support.people import ASK, asking_stack, dear, ended, tenant
from tests.support.stack import Stack, bell

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def stack(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> AsyncIterator[Stack]:
    """One whose policy asks nobody."""
    async with asking_stack(dev_env, emulator, tmp_path, ASK) as one:
        yield one


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("money", -1),
        ("money", "NaN"),
        ("money", "Infinity"),
        ("money", 10**10),
        ("quantum_seconds", -0.5),
        ("quantum_seconds", float("nan")),
        ("quantum_seconds", float("inf")),
        ("currency", "usd"),
        ("currency", "US Dollars"),
        ("approval", -1),
        ("approval", 0),
    ],
)
async def test_a_budget_that_is_none_is_refused_by_its_name(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as refused:
        dear(budgets={field: value})
    assert [".".join(map(str, e["loc"])) for e in refused.value.errors()] == [f"budgets.{field}"]


@pytest.mark.parametrize(
    ("of_tenant", "budgets", "field", "allowed"),
    [
        ({}, {"money": 50, "currency": "ABC"}, "budgets.currency", "USD"),
        ({"currency": "EUR"}, {"money": 50}, "budgets.currency", "EUR"),
    ],
    ids=["a currency without prices", "another currency than the tenant's"],
)
async def test_money_of_another_kind_is_refused_and_the_key_stays_free(
    stack: Stack, of_tenant: dict[str, Any], budgets: dict[str, Any], field: str, allowed: str
) -> None:
    await tenant(stack, "acme", money=1000, quantum_seconds=100, **of_tenant)
    bad = dear(tenant="acme", budgets=budgets)
    with pytest.raises(InvalidRequest, match=rf"{field}: .*\(allowed: .*{allowed}"):
        await (await stack.client.start(bad)).result()
    assert await stack.parts.records.get(bad.job_id) is None
    assert await stack.parts.ledger.reservations(bad.job_id) == ()
    better = dear(tenant="acme", key=bad.key, seed=8)
    (result,) = await ended(stack, await stack.client.start(better))
    assert result.answer is not None
    assert (await stack.record(result.job_id)).payload_hash == better.payload_hash()


async def test_an_unknown_tenant_is_refused_until_he_is_set_up(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    async with asking_stack(
        dev_env, emulator, tmp_path, ASK, registered_tenants_only=True
    ) as stack:
        request = dear(tenant="nobody")
        with pytest.raises(InvalidRequest, match=r"tenant: unknown tenant 'nobody' \(allowed: "):
            await (await stack.client.start(request)).result()
        assert await stack.parts.records.get(request.job_id) is None
        await tenant(stack, "nobody", money=1000)
        (result,) = await ended(stack, await stack.client.start(request))
        assert result.state is JobState.COMPLETED


@pytest.mark.parametrize(
    ("of_tenant", "budgets", "reason"),
    [
        ({}, {"money": 0}, "expected cost 1.61920 USD, the budget is 0"),
        ({}, {"money": "1.5"}, "expected cost 1.61920 USD, the budget is 1.5"),
        ({}, {"quantum_seconds": 0.9}, "expected 1.0 quantum seconds, the budget is 0.9"),
        ({"currency": "EUR"}, {}, "priced in USD, the tenant pays in EUR"),
        (
            {"quantum_seconds": 5, "when_spent": "fallback"},
            {},
            "10 quantum seconds wanted, tenant 'acme' has 5 of 5 left",
        ),
    ],
)
async def test_what_the_money_does_not_pay_for_is_answered_without_hardware(
    stack: Stack, of_tenant: dict[str, Any], budgets: dict[str, Any], reason: str
) -> None:
    await tenant(stack, "acme", **({"money": 1000, "quantum_seconds": 100} | of_tenant))
    request = dear(tenant="acme", budgets=budgets)
    (result,) = await ended(stack, await stack.client.start(request))
    assert result.state is JobState.DEGRADED
    assert result.provenance is not None and result.provenance.source is Rung.ANNEALING
    assert result.decision is not None
    assert reason in result.decision.reason
    assert result.cost.money == Decimal(0)
    assert stack.emulator.control.summary()["posts"] == 0


async def test_what_only_hardware_could_answer_ends_with_the_reason(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    only = ASK.replace('sample = ["hardware", "simulator"]', 'sample = ["hardware"]')
    async with asking_stack(dev_env, emulator, tmp_path, only) as stack:
        await tenant(stack, "euro", money=1000, currency="EUR")
        await tenant(stack, "poor", quantum_seconds=5, when_spent="fallback")
        euro, poor = [
            await stack.client.start(bell(tenant=name, budgets={"quantum_seconds": 10}))
            for name in ("euro", "poor")
        ]
        for result, reason in zip(
            await ended(stack, euro, poor),
            ("priced in USD, the tenant pays in EUR", "tenant 'poor' has 5 of 5 left"),
            strict=True,
        ):
            assert result.state is JobState.REJECTED
            assert result.unanswered is not None
            assert reason in result.unanswered.reason
        assert stack.emulator.control.summary()["posts"] == 0
