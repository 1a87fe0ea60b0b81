"""Loops where identity is required: each job is admitted for whoever started the loop."""

from __future__ import annotations

import pytest

from qsaga.core import loops
from qsaga.core.errors import Forbidden, Unauthenticated
from qsaga.core.loop_rules import points
from qsaga.core.states import JobState
from tests.support.loops import loop
from tests.support.stack import Stack
from tests.workflows.test_guarded import client_with, guarded, token

__all__ = ["guarded"]

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]


async def test_jobs_of_a_loop_are_those_of_its_submitter(
    guarded: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "POINTS_PER_RUN", 3)
    alice = client_with(guarded, token("alice", "submitter"))
    handle = await alice.submit_loop(loop(tenant="acme"))
    result = await handle.result(120)
    assert result.state is JobState.COMPLETED, "also in the runs after the first"
    for point in points(result.iterations):
        assert (await guarded.record(point.job_id)).submitter == "alice"
    await guarded.books_are_clean()


@pytest.mark.parametrize(
    ("signed", "error"),
    [
        (None, Unauthenticated),
        (token("otto", "submitter", tenants=("other",)), Forbidden),
        (token("bob", "approver"), Forbidden),
    ],
    ids=["none", "other tenant", "wrong role"],
)
async def test_who_may_not_start_a_job_may_not_start_a_loop(
    guarded: Stack, signed: str | None, error: type[Exception]
) -> None:
    request = loop(tenant="acme")
    handle = await client_with(guarded, signed).submit_loop(request)
    with pytest.raises(error):
        await handle.result(60)
    assert await guarded.parts.records.get(f"acme/{request.key}:loop:0:0") is None
