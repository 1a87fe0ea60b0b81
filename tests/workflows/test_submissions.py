"""A submission whose reply is lost, late, doubled or denied: one job, or a person is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.common import SearchAttributeKey
from temporalio.testing import WorkflowEnvironment

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.attributes import STATE
from qsaga.core.errors import InvalidRequest, NoSuchJob
from qsaga.core.operations import GetQuarantine, Reconcile, Resolve
from qsaga.core.results import JobResult
from qsaga.core.runs import RunStatus
from qsaga.core.states import JobState, Rung
from qsaga.core.submission import Quarantined, Resolution, StatedCharge
from tests.support.clock_bridge import ClockBridge
from tests.support.stack import Stack, abilene, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOST = {"do": "drop", "on": "submit", "when": "after", "count": 1}
NEVER_CAME = {"do": "drop", "on": "submit", "when": "before", "count": 1}
REFUSED = {"do": "answer", "status": 403}


def charged(stack: Stack, run_id: str) -> dict[object, object]:
    """What the emulator charged for a run, by remote job."""
    return {job["id"]: job["charged_seconds"] for job in stack.remote(run_id)}


async def booked(stack: Stack, result: JobResult) -> dict[object, object]:
    """What the job's record says was charged, by remote job."""
    charges = (await stack.record(result.job_id)).charges
    return {charge.provider_job_id: charge.cost.quantum_seconds for charge in charges}


async def closed(stack: Stack, result: JobResult) -> None:
    """Every remote job is booked as it was charged, and nothing is left."""
    await stack.settled(result)
    assert await booked(stack, result) == charged(stack, stack.run_id(result))
    assert (await stack.record(result.job_id)).open_runs == ()
    assert await stack.parts.submissions.quarantined() == ()
    await stack.books_are_clean()


async def cases(stack: Stack) -> tuple[Quarantined, ...]:
    """What waits for a person, once something does."""
    async with stack.skipping_time():
        while not (  # noqa: ASYNC110 - in a database
            found := await stack.parts.submissions.quarantined()
        ):
            await asyncio.sleep(0.02)
    report = await stack.client.operate(GetQuarantine(), by="olga")
    assert report.quarantined == found
    return found


@pytest.mark.parametrize("late", [0.0, 15.0], ids=["listed at once", "listed late"])
async def test_a_job_whose_reply_was_lost_is_adopted(skipping: Stack, late: float) -> None:
    rules = [LOST] + ([{"do": "list_late", "seconds": late, "direct": True}] if late else [])
    skipping.emulator.control.set_plan(*rules)
    result = await skipping.run(abilene())
    assert result.state is JobState.COMPLETED
    assert len(skipping.emulator.control.posts()) == 1
    await closed(skipping, result)


async def test_what_never_came_is_sent_again_when_it_must_have_been_listed(skipping: Stack) -> None:
    skipping.emulator.control.set_plan(NEVER_CAME)
    result = await skipping.run(abilene())
    assert result.state is JobState.COMPLETED
    first, second = skipping.emulator.control.posts()
    found_within = skipping.parts.provider.capabilities.found_within  # type: ignore[union-attr]
    assert second["at"] - first["at"] >= found_within
    await closed(skipping, result)
    await skipping.keep_history("sent_again.run", skipping.run_id(result))


async def test_while_undecided_nothing_is_sent_and_the_answer_comes_from_elsewhere(
    skipping: Stack,
) -> None:
    # The queue budget is long, that of the submission is over before anything can be decided.
    skipping.emulator.control.set_plan(LOST, {"do": "list_late", "seconds": 15})
    result = await skipping.run(abilene(budgets={"submit": 8, "solve": 0.3, "deadline": 86400}))
    assert result.state is JobState.DEGRADED
    assert result.attempts[0].layer is not None
    assert result.attempts[0].layer.value == "submit"
    await closed(skipping, result)
    assert len(skipping.emulator.control.posts()) == 1
    (job,) = skipping.remote(skipping.run_id(result))
    assert job["state"] in ("Cancelled", "Completed")


async def test_a_job_that_is_listed_later_than_was_promised_is_found_and_booked(
    skipping: Stack,
) -> None:
    # Beyond what the provider is relied upon for: then a second one is made, and both are booked.
    skipping.emulator.control.set_queue(2, 60.0)
    skipping.emulator.control.set_plan(LOST, {"do": "list_late", "seconds": 60, "count": 1})
    result = await skipping.run(abilene())
    assert result.state is JobState.COMPLETED
    assert len(skipping.remote(skipping.run_id(result))) == 2
    await closed(skipping, result)
    roles = [charge.role for charge in (await skipping.record(result.job_id)).charges]
    assert sorted(roles) == ["extra", "run"]


async def test_several_that_are_found_leave_one(skipping: Stack) -> None:
    skipping.emulator.control.set_queue(1, 60.0)
    again = {"do": "answer", "on": "submit", "when": "after", "status": 504, "count": 1}
    skipping.emulator.control.set_plan(again, {"do": "list_late", "seconds": 40, "count": 1})
    result = await skipping.run(abilene())
    assert result.state is JobState.COMPLETED
    await closed(skipping, result)


async def test_what_is_listed_after_its_account_was_closed_is_booked_by_repair(
    skipping: Stack,
) -> None:
    # Far beyond what the provider is relied upon for, and nothing else keeps the run open.
    skipping.emulator.control.set_plan(LOST, {"do": "list_late", "seconds": 7200, "count": 1})
    result = await skipping.run(abilene())
    assert result.state is JobState.COMPLETED
    await skipping.settled(result)
    jobs = charged(skipping, skipping.run_id(result))
    assert len(jobs) == 2
    assert len(await booked(skipping, result)) == 1
    await skipping.env.sleep(7200)
    report = (await skipping.client.operate(Reconcile(repair=True), by="olga")).reconciliation
    assert report is not None
    assert report.differences == ()
    assert await booked(skipping, result) == jobs
    await closed(skipping, result)
    again = (await skipping.client.operate(Reconcile(repair=True), by="olga")).reconciliation
    assert again is not None
    assert again.booked == report.booked == report.charged


@pytest_asyncio.fixture(loop_scope="session")
async def with_client_retries(
    skipping_env: WorkflowEnvironment,
    bridge: ClockBridge,
    following_emulator: EmulatorProcess,
    tmp_path: Path,
) -> AsyncIterator[Stack]:
    """The client's own repetitions of a POST are left on."""
    await asyncio.to_thread(bridge.follow, skipping_env.client.service_client.config.target_host)
    await asyncio.to_thread(following_emulator.control.reset)
    async with running_stack(
        skipping_env, following_emulator, tmp_path, client_retries=True
    ) as stack:
        yield stack


async def test_what_the_client_sends_twice_is_cancelled_and_booked(
    with_client_retries: Stack,
) -> None:
    stack = with_client_retries
    stack.emulator.control.set_queue(1, 60.0)
    twice = {"do": "answer", "on": "submit", "when": "after", "status": 504, "count": 2}
    stack.emulator.control.set_plan(twice)
    result = await stack.run(abilene())
    assert result.state is JobState.COMPLETED
    jobs = stack.remote(stack.run_id(result))
    assert sorted(str(job["state"]) for job in jobs) == ["Cancelled", "Cancelled", "Completed"]
    await closed(stack, result)


async def _denied(stack: Stack) -> tuple[JobResult, Quarantined]:
    """A submission without a reply, at a provider that lets nobody look for it any more."""
    # The look-up before the submission passes; those after it do not.
    denied = {**REFUSED, "on": ["list", "job", "cancel"], "after": 1}
    stack.emulator.control.set_plan(LOST, denied)
    result = await stack.run(abilene())
    assert result.state is JobState.DEGRADED
    assert result.provenance is not None
    assert result.provenance.source is Rung.ANNEALING
    (case,) = await cases(stack)
    assert case.run_id == stack.run_id(result)
    assert "403" in case.reason
    assert case.intent.last_sent_at is not None
    run = stack.temporal.get_workflow_handle(case.run_id)
    status = await run.query("status", result_type=RunStatus)
    assert (status.state, status.quarantined) == (JobState.QUARANTINED, case.reason)
    listed = (await run.describe()).typed_search_attributes
    assert listed.get(SearchAttributeKey.for_keyword(STATE)) == "quarantined"
    assert len(stack.emulator.control.posts()) == 1
    return result, case


async def test_what_cannot_be_decided_waits_for_a_person_and_is_not_sent_again(
    skipping: Stack,
) -> None:
    result, case = await _denied(skipping)
    (job,) = skipping.remote(case.run_id)
    word = Resolution(
        verdict="charged",
        charges=(StatedCharge(provider_job_id=str(job["id"]), quantum_seconds=3.0),),
        why="invoice 12",
    )
    await skipping.client.operate(Resolve(run_id=case.run_id, resolution=word), by="olga")
    await skipping.settled(result)
    assert await booked(skipping, result) == {job["id"]: 3.0}
    await skipping.keep_history("quarantined.run", case.run_id)
    assert len(skipping.emulator.control.posts()) == 1
    assert await skipping.parts.submissions.quarantined() == ()
    await skipping.books_are_clean()
    (entry,) = [
        row.entry for row in await skipping.parts.audit.entries() if row.entry.action == "resolve"
    ]
    assert (entry.who, entry.subject) == ("olga", case.run_id)


async def test_a_provider_that_answers_again_needs_no_person(skipping: Stack) -> None:
    result, _ = await _denied(skipping)
    skipping.emulator.control.clear_plan()
    await closed(skipping, result)
    assert len(skipping.emulator.control.posts()) == 1


async def test_a_word_that_names_the_job_has_it_ended_and_booked(skipping: Stack) -> None:
    # The list shows nothing, ever; the person has the id from the provider's own pages.
    skipping.emulator.control.set_queue(2, 3600.0)
    gone = {**REFUSED, "on": "list", "after": 1}
    skipping.emulator.control.set_plan(LOST, gone)
    result = await skipping.run(abilene(budgets={"submit": 30, "solve": 0.3, "deadline": 86400}))
    (case,) = await cases(skipping)
    (job,) = skipping.remote(case.run_id)
    assert job["state"] == "Queued"
    skipping.emulator.control.set_plan({"do": "list_missing"})
    word = Resolution(verdict="jobs", jobs=(str(job["id"]),), why="seen on the dashboard")
    await skipping.client.operate(Resolve(run_id=case.run_id, resolution=word), by="olga")
    await closed(skipping, result)
    assert skipping.remote(case.run_id)[0]["state"] == "Cancelled"


async def test_a_job_that_the_provider_forgets_waits_for_a_person(skipping: Stack) -> None:
    skipping.emulator.control.set_queue(2, 60.0)
    lost = {"do": "answer", "status": 404, "on": ["job", "cancel"]}
    skipping.emulator.control.set_plan(lost, {"do": "list_missing", "after": 1})
    result = await skipping.run(abilene(budgets={"queue": 60, "solve": 0.3, "deadline": 86400}))
    assert result.state is JobState.DEGRADED
    (case,) = await cases(skipping)
    assert "404" in case.reason
    word = Resolution(verdict="never_accepted", why="support: no such job, no charge")
    await skipping.client.operate(Resolve(run_id=case.run_id, resolution=word), by="olga")
    await skipping.settled(result)
    assert await booked(skipping, result) == {}
    await skipping.books_are_clean()


@pytest.mark.parametrize(
    "word",
    [
        {"verdict": "never_accepted", "jobs": ["d1"], "why": "x"},
        {"verdict": "jobs", "why": "x"},
        {"verdict": "charged", "jobs": ["d1"], "why": "x"},
        {"verdict": "charged", "charges": [{"provider_job_id": "d", "quantum_seconds": -1}]},
    ],
)
async def test_a_word_that_says_nothing_clear_is_refused(word: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"verdict|why|quantum_seconds"):
        Resolution.model_validate(word)


async def test_nobody_waits_for_a_word_on_an_unknown_submission(dev: Stack) -> None:
    word = Resolution(verdict="never_accepted", why="x")
    with pytest.raises((NoSuchJob, InvalidRequest), match="waits for a person"):
        await dev.client.operate(Resolve(run_id="qsaga:none", resolution=word), by="olga")
