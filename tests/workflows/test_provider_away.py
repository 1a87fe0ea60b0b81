"""The provider cannot be reached while a job is admitted: for a moment, or for good."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from activities.enquiry import offered
from adapters.ibm._wire import GET_ATTEMPTS
from qsaga.core.errors import PermanentProviderError, TransientProviderError
from qsaga.core.facts import BackendFacts
from qsaga.core.results import JobResult
from qsaga.core.states import JobState, Layer, Rung
from tests.support.stack import Stack, abilene, bell

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASKED = "GET /api/v1/backends"


def admitting(result: JobResult) -> float:
    """Seconds that the admission took."""
    return next(one.seconds for one in result.timings if one.layer is Layer.ADMIT)


def because(result: JobResult) -> str:
    """Why the job did not go to the hardware."""
    assert result.decision is not None
    return next(no.reason for no in result.decision.refused if no.rung is Rung.HARDWARE)


async def test_an_outage_of_a_second_costs_a_second_and_not_the_hardware(dev: Stack) -> None:
    # The adapter repeats a request twice within a second; signing in and asking all fail. The next
    # try comes a second later.
    dev.emulator.control.set_plan({"do": "outage", "on": "backends", "count": 2 * GET_ATTEMPTS})
    request = bell(route="hardware")
    # The client would plan the job first, and meet the outage in its place.
    await dev.begin(request)
    result = await dev.result(dev.client.job(request.job_id))
    assert result.state is JobState.COMPLETED
    assert result.provenance is not None and result.provenance.source is Rung.HARDWARE
    assert dev.emulator.control.requests()[ASKED] > 2 * GET_ATTEMPTS
    assert admitting(result) >= 1


async def test_an_outage_that_lasts_degrades_the_job_after_a_few_seconds(dev: Stack) -> None:
    dev.emulator.control.set_plan({"do": "outage"})
    result = await dev.run(bell(route="hardware"))
    assert result.state is JobState.DEGRADED
    assert "the provider cannot be reached" in because(result)
    assert dev.emulator.control.summary()["posts"] == 0
    assert 3 <= admitting(result) < 15


async def test_little_time_is_little_patience(dev: Stack) -> None:
    dev.emulator.control.set_plan({"do": "outage"})
    result = await dev.run(bell(route="hardware", budgets={"deadline": 10.0}))
    assert result.state is JobState.DEGRADED
    assert admitting(result) < 3


async def test_who_wants_no_hardware_does_not_wait_for_it(dev: Stack) -> None:
    dev.emulator.control.set_plan({"do": "outage"})
    result = await dev.run(abilene(route="annealing"))
    assert result.state is JobState.COMPLETED
    assert admitting(result) < 3


# --- the tries ---------------------------------------------------------------------------------


class Provider:
    """Answers what it is told to, try by try."""

    def __init__(self, *says: Callable[[], float]) -> None:
        self._says, self.asked = list(says), 0

    async def backends(self) -> tuple[BackendFacts, ...]:
        """Nothing, after the seconds that are said."""
        self.asked += 1
        await asyncio.sleep(self._says.pop(0)())
        return ()


def fails(error: Exception) -> Callable[[], float]:
    def say() -> float:
        raise error

    return say


AWAY = fails(TransientProviderError("away"))


@pytest.mark.parametrize(
    ("says", "seconds", "asked"),
    [
        ((AWAY, AWAY, AWAY, AWAY), 0.2, 3),
        ((AWAY, AWAY), 0.0, 1),
        ((fails(PermanentProviderError("no")), AWAY), 0.2, 1),
        # It asks for more patience than there is.
        ((fails(TransientProviderError("busy", retry_after=60.0)), AWAY), 0.2, 1),
        # The second try hangs, and is not waited for.
        ((AWAY, lambda: 60.0), 0.2, 2),
    ],
    ids=["away", "no patience", "refused", "asked to wait", "hangs"],
)
async def test_a_provider_that_is_away_is_asked_as_often_as_there_is_time(
    says: tuple[Callable[[], float], ...], seconds: float, asked: int
) -> None:
    provider = Provider(*says)
    began = time.monotonic()
    with pytest.raises((TransientProviderError, PermanentProviderError)):
        await offered(provider, seconds)  # type: ignore[arg-type]
    assert provider.asked == asked
    assert time.monotonic() - began < 5


async def test_a_provider_that_comes_back_is_heard() -> None:
    provider = Provider(AWAY, lambda: 0.0)
    assert await offered(provider, 0.2) == ()  # type: ignore[arg-type]
    assert provider.asked == 2
