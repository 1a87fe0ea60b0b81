"""The adapter for any ``BackendV2``: what becomes of a submission."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from qiskit.exceptions import QiskitError
from qiskit.providers.fake_provider import GenericBackendV2

from adapters.circuits import to_qpy
from adapters.qiskit_backend import BackendV2Provider
from qsaga.core.errors import (
    PermanentProviderError,
    ResultUnusable,
    TransientProviderError,
    Undecided,
)
from qsaga.core.ports import RemoteJob, RemoteState
from tests.adapters.contract.account import KEY, NO_REPLY, SAMPLE, Account, coin, until_ended
from tests.adapters.contract.acme import SECONDS, AcmeError

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path)


@pytest.mark.parametrize("error", NO_REPLY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("point", ["sending", "accepted", "named"])
async def test_a_submission_whose_reply_is_lost_is_never_sent_again(
    account: Account, point: str, error: Exception
) -> None:
    account.fail(point, error)
    with pytest.raises(Undecided):
        await account.send()
    account.raises.clear()
    made = len(account.service.jobs())
    with pytest.raises(Undecided):
        await account.send()
    assert len(account.service.jobs()) == made == (0 if point == "sending" else 1)


async def test_what_the_vendor_surely_refused_leaves_the_key_free(account: Account) -> None:
    account.fail("sending", AcmeError("no such option", 422))
    with pytest.raises(PermanentProviderError, match="no such option"):
        await account.send()
    assert await account.provider.find(KEY.tag) == ()
    account.raises.clear()
    assert [(await account.send()).provider_job_id] == account.service.jobs()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (QiskitError("no such method"), PermanentProviderError),
        (TypeError("option"), PermanentProviderError),
        (MemoryError(), TransientProviderError),
        (BlockingIOError("no thread"), TransientProviderError),
    ],
)
async def test_a_simulator_that_raises_has_accepted_nothing(
    tmp_path: Path, error: Exception, kind: type[Exception]
) -> None:
    machine = GenericBackendV2(2, seed=1)
    works, machine.run = machine.run, raising(error)
    provider = BackendV2Provider("local", lambda: [machine], tmp_path)
    isa = await provider.compile(to_qpy(coin()), machine.name, 7, SAMPLE)
    with pytest.raises(kind):
        await provider.submit(isa.qpy, isa.facts.layout, machine.name, SAMPLE, KEY)
    machine.run = works
    job = await provider.submit(isa.qpy, isa.facts.layout, machine.name, SAMPLE, KEY)
    assert (await until_ended(provider, job)).state is RemoteState.COMPLETED


def raising(error: Exception) -> Callable[..., Any]:
    def run(*_: Any, **__: Any) -> Any:
        raise error

    return run


def held(answers: threading.Event) -> None:
    answers.wait(30)


async def test_a_job_that_is_accepted_after_the_caller_gave_up_is_found(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    account.raises["accepted"] = lambda: held(answers)
    isa = await account.provider.compile(to_qpy(coin()), "acme_line", 7, SAMPLE)
    with monkeypatch.context() as hurried:
        hurried.setattr(account.provider, "_seconds", 0.5)
        with pytest.raises(Undecided, match=r"given up after 0\.5 s"):
            await account.provider.submit(isa.qpy, isa.facts.layout, "acme_line", SAMPLE, KEY)
    with pytest.raises(Undecided, match="begun"):
        await account.provider.submit(isa.qpy, isa.facts.layout, "acme_line", SAMPLE, KEY)
    answers.set()
    found: tuple[RemoteJob, ...] = ()
    for _ in range(500):
        if found := await account.provider.find(KEY.tag):
            break
        await asyncio.sleep(0.02)
    assert [job.provider_job_id for job in found] == account.service.jobs()


async def test_a_submission_that_is_given_up_before_it_begins_is_not_sent(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    isa = await account.provider.compile(to_qpy(coin()), "acme_line", 7, SAMPLE)
    answers, passed = threading.Event(), threading.Event()

    def slow() -> None:
        answers.wait(30)
        passed.set()

    account.raises["options"] = slow
    with monkeypatch.context() as hurried:
        hurried.setattr(account.provider, "_seconds", 0.5)
        with pytest.raises(TransientProviderError, match="given up"):
            await account.provider.submit(isa.qpy, isa.facts.layout, "acme_line", SAMPLE, KEY)
    del account.raises["options"]
    answers.set()
    assert await asyncio.to_thread(passed.wait, 10)
    again = await account.provider.submit(isa.qpy, isa.facts.layout, "acme_line", SAMPLE, KEY)
    assert account.service.jobs() == [again.provider_job_id]


async def test_an_accepted_job_that_cannot_be_written_down_is_named_to_a_person(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(
            account.provider._journal, "accepted", raising(TransientProviderError("disk full"))
        )
        with pytest.raises(Undecided, match="disk full") as caught:
            await account.send()
    (job_id,) = account.service.jobs()
    assert job_id in str(caught.value)
    # Which can then be ended and booked by its id, though nothing is known of what it was asked.
    done = await account.provider.status(job_id)
    assert (done.state, done.backend) == (RemoteState.COMPLETED, "acme_line")
    assert done.quantum_seconds == SECONDS
    with pytest.raises(ResultUnusable, match="does not know what this job was asked"):
        await account.provider.result(job_id)
