"""What a provider says while an account is closed reaches Temporal as it was said."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest.mock import AsyncMock

import pytest
from temporalio.api.failure.v1 import Failure
from temporalio.common import RetryPolicy
from temporalio.converter import DataConverter
from temporalio.testing import ActivityEnvironment

from activities.closing import Cancel, Settle
from activities.running import as_failure
from qsaga.core.errors import NoSuchRemoteJob, ProviderError, TransientProviderError
from qsaga.core.ports import Capabilities, RemoteJob, RemoteState
from qsaga.core.remote_steps import CancelInput, SettleInput
from workflows import identified, layers

SAID = [
    (TransientProviderError("busy", retry_after=7.0), 7),
    (NoSuchRemoteJob("not known yet"), 0),
]


def provider(error: ProviderError) -> AsyncMock:
    """One that fails to list."""
    made = AsyncMock()
    made.capabilities = Capabilities(found_within=1e9)
    made.find.side_effect = error
    return made


def encoded(error: ProviderError) -> Failure:
    """As the interceptor of all activities and Temporal's SDK make it."""
    told = as_failure(error)
    told.__cause__ = error
    failure = Failure()
    converter = DataConverter.default
    converter.failure_converter.to_failure(told, converter.payload_converter, failure)
    return failure


def check(error: ProviderError, seconds: int) -> None:
    """It can be carried, is tried again, and when the provider asked for."""
    info = encoded(error).application_failure_info
    assert info.type == "TransientProviderError"
    assert not info.non_retryable
    assert info.next_retry_delay.seconds == seconds


@pytest.mark.parametrize("local", [True, False])
async def test_a_local_activity_does_not_wait_as_long_as_a_provider_asks(local: bool) -> None:
    env = ActivityEnvironment()
    env.info = replace(env.info, is_local=local)
    told = env.run(as_failure, TransientProviderError("busy", retry_after=30.0))
    assert told.non_retryable is local
    assert not env.run(as_failure, TransientProviderError("away")).non_retryable


@pytest.mark.parametrize(
    ("policy", "most"), [(layers.FEW, layers.LOCAL_TRY), (identified.RETRY, identified.LOCAL_TRY)]
)
async def test_a_local_activity_that_keeps_failing_ends_by_itself(
    policy: RetryPolicy, most: timedelta
) -> None:
    longest = policy.maximum_interval or most
    pauses = [
        min(longest, policy.initial_interval * policy.backoff_coefficient**number)
        for number in range(policy.maximum_attempts - 1)
    ]
    assert pauses and sum(pauses, timedelta()) <= most


@pytest.mark.parametrize(("error", "seconds"), SAID)
async def test_of_ending_remote_jobs(error: ProviderError, seconds: int) -> None:
    quarantine = AsyncMock()
    quarantine.word.return_value = None
    step = Cancel(provider(error), AsyncMock(), quarantine, AsyncMock(), patience=1e9)
    given = CancelInput(tag="tag", provider_job_id=None, since=datetime.now(UTC), job_id="t/k")
    with pytest.raises(TransientProviderError) as raised:
        await ActivityEnvironment().run(step.cancel_remote, given)
    check(raised.value, seconds)


@pytest.mark.parametrize(("error", "seconds"), SAID)
async def test_of_booking_charges(error: ProviderError, seconds: int) -> None:
    quarantine = AsyncMock()
    quarantine.word.return_value = None
    parts = [AsyncMock() for _ in range(6)]
    step = Settle(
        parts[0],
        provider(error),
        *parts[1:],
        quarantine,
        AsyncMock(),
        patience=1e9,
    )
    job = RemoteJob(provider_job_id="j", backend="b", state=RemoteState.COMPLETED)
    given = SettleInput(
        job_id="t/k", run_id="tag", since=datetime.now(UTC), jobs=(job,), outcome="answered"
    )
    with pytest.raises(TransientProviderError) as raised:
        await ActivityEnvironment().run(step.settle, given)
    check(raised.value, seconds)
