"""The IBM adapter on an account, by `make test-account`; see docs/real-account.md.

Every claim holds for a noisy machine and a queue of unknown length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from qsaga.core.errors import NoSuchRemoteJob, PermanentProviderError
from qsaga.core.ports import RemoteState, RunSpec, SessionSpec

if TYPE_CHECKING:
    from tests.real_account.account import Account

pytestmark = [pytest.mark.real_account, pytest.mark.timeout(0)]
SAMPLE = RunSpec(verb="sample", shots=256)


async def test_the_service_answers(account: Account) -> None:
    health = await account.provider.health()
    assert (health.reachable, health.authorised) == (True, True), health.detail
    target = await account.provider.target(account.backend)
    assert target.qubits >= 2
    assert target.couplings >= 1
    assert "measure" in target.operations
    assert (await account.provider.usage()).consumed is not None


async def test_a_key_that_is_none_is_told_apart(account: Account) -> None:
    from adapters.ibm import IBMProvider

    other = {"token": SecretStr("not-a-key"), "token_file": None}
    provider = IBMProvider(account.settings.model_copy(update=other))
    health = await provider.health()
    assert (health.reachable, health.authorised) == (True, False), health.detail
    with pytest.raises(PermanentProviderError, match="credentials"):
        await provider.backends()


async def test_a_job_that_is_not_there(account: Account) -> None:
    for call in (account.provider.status, account.provider.cancel, account.provider.result):
        with pytest.raises(NoSuchRemoteJob):
            await call("d0000000000000000000")
    assert await account.provider.find("qsaga:account-suite-nobody") == ()


async def test_a_sample_from_submission_to_charge(account: Account) -> None:
    from tests.real_account.account import SUITE_TAG, bell

    key, job = await account.submit(bell(), SAMPLE)
    seconds = await account.listed(key)
    account.notes.append(f"listed by its tag after {seconds:.1f} s")
    (found,) = await account.provider.find(key.tag)
    assert found.provider_job_id == job.provider_job_id
    assert set(found.tags) == {SUITE_TAG, key.tag}
    now = await account.provider.status(job.provider_job_id)
    if now.state is RemoteState.QUEUED:
        outlook = await account.provider.outlook(job.provider_job_id)
        account.notes.append(f"place {outlook.position}, start {outlook.starts}")
    done = await account.ended(key, job)
    assert done.state is RemoteState.COMPLETED, done.reason
    standing = await account.provider.pending(SUITE_TAG)
    assert job.provider_job_id not in {j.provider_job_id for j in standing}
    result = await account.provider.result(job.provider_job_id)
    assert result.shots == 256
    counts = result.counts["meas"]
    assert counts.get("00", 0) + counts.get("11", 0) > 0.6 * 256


async def test_an_expectation_value(account: Account) -> None:
    from tests.real_account.account import bell

    spec = RunSpec(verb="estimate", shots=1, observables=({"ZZ": 1.0},), precision=0.1)
    key, job = await account.submit(bell(measured=False), spec)
    done = await account.ended(key, job)
    assert done.state is RemoteState.COMPLETED, done.reason
    result = await account.provider.result(job.provider_job_id)
    assert 0.4 < result.values[0] < 1.6
    assert len(result.standard_errors) == 1


async def test_a_cancel_is_safe_to_repeat(account: Account) -> None:
    from tests.real_account.account import bell

    key, job = await account.submit(bell(), SAMPLE)
    await account.provider.cancel(job.provider_job_id)
    done = await account.ended(key, job)
    # It may have run before the cancel arrived.
    assert done.state in (RemoteState.CANCELLED, RemoteState.COMPLETED)
    assert (await account.provider.cancel(job.provider_job_id)).state is done.state


async def test_a_batch(account: Account) -> None:
    from tests.real_account.account import bell

    spec = SessionSpec(backend=account.backend, mode="batch", max_seconds=300)
    batch = await account.provider.open_session(spec)
    try:
        key, job = await account.submit(bell(), SAMPLE, session=batch.session_id)
        assert (await account.ended(key, job)).state is RemoteState.COMPLETED
        assert (await account.provider.session(batch.session_id)).mode == "batch"
    finally:
        closed = await account.provider.close_session(batch.session_id)
    assert not closed.accepting
    assert not (await account.provider.close_session(batch.session_id)).accepting
