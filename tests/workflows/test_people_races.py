"""Decisions that cross each other, the clock, the end of the job, or a worker's death."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.client import JobHandle
from qsaga.core.approval import DECIDE, Decided
from qsaga.core.errors import PolicyRefused
from qsaga.core.states import JobState, Layer
from tests.support.crew import Crewed
from tests.support.people import ASK, DEAR, asking_stack, dear, ended, locked, reached, waiting
from tests.support.stack import Stack
from workflows.approval import REVIEWED

pytestmark = pytest.mark.asyncio(loop_scope="session")

Asking = Callable[..., AbstractAsyncContextManager[Crewed]]


@pytest.fixture
def asking(dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path) -> Asking:
    """A stack whose policy asks, with more lines for its approval rule."""

    def stack(more: str = "") -> AbstractAsyncContextManager[Crewed]:
        return asking_stack(dev_env, emulator, tmp_path, ASK + DEAR + more)

    return stack


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps hear within a second that they are cancelled, and wait three for a locked database."""
    soon = partial(Worker, max_heartbeat_throttle_interval=timedelta(seconds=1))
    monkeypatch.setattr("composition.workers.Worker", soon)
    for module in ("_engine", "_writer"):
        monkeypatch.setattr(f"adapters.sql.{module}.BUSY_SECONDS", 3.0)


async def under_way(stack: Stack, handle: JobHandle, activity: str) -> None:
    """Until the job waits for an activity of that name."""
    job = stack.temporal.get_workflow_handle(handle.job_id)
    for _ in range(1200):
        raw = (await job.describe()).raw_description
        if any(a.activity_type.name == activity for a in raw.pending_activities):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{handle.job_id} never came to {activity}")


async def started(stack: Stack, **changes: Any) -> JobHandle:
    """A job that waits for a person."""
    handle = await stack.client.start(dear(**changes))
    await waiting(handle)
    return handle


async def test_of_a_yes_and_a_no_at_the_same_instant_one_counts(asking: Asking) -> None:
    async with asking() as stack:
        handles = [await started(stack) for _ in range(4)]
        said = [
            await asyncio.gather(
                handle.approve("yes", by="bob"),
                handle.reject("no", by="carol"),
                return_exceptions=True,
            )
            for handle in handles
        ]
        for (yes, no), result in zip(said, await ended(stack, *handles), strict=True):
            counted, refused = (yes, no) if isinstance(yes, Decided) else (no, yes)
            assert isinstance(counted, Decided)
            assert isinstance(refused, PolicyRefused)
            assert "already" in str(refused) or "has ended" in str(refused)
            assert result.state is (JobState.COMPLETED if counted is yes else JobState.REJECTED)
            assert result.approval is not None and result.approval.counted == (counted,)


async def test_at_the_moment_of_expiry_a_yes_counts_or_is_too_late(asking: Asking) -> None:
    async with asking("expires = 1.5\n") as stack:

        async def decide(handle: JobHandle, early: float) -> Decided | PolicyRefused:
            asked = await handle.approval()
            assert asked is not None
            moment = asked.request.expires - timedelta(seconds=early)
            await asyncio.sleep((moment - datetime.now(UTC)).total_seconds())
            try:
                return await handle.approve("yes", by="bob")
            except PolicyRefused as error:
                return error

        handles = [await started(stack) for _ in range(6)]
        early = (0.06, 0.03, 0.015, 0.005, 0.0, -0.02)
        said = await asyncio.gather(*map(decide, handles, early))
        for word, result in zip(said, await ended(stack, *handles), strict=True):
            assert result.approval is not None
            if isinstance(word, Decided):
                assert result.approval.outcome == "approved"
                assert result.state is JobState.COMPLETED
            else:
                assert "too late" in str(word) or "has ended: timed_out" in str(word)
                assert result.approval.outcome == "expired"
                assert result.state is JobState.TIMED_OUT


async def test_a_yes_that_nobody_could_weigh_before_the_expiry_is_too_late(asking: Asking) -> None:
    async with asking("expires = 1.0\n") as stack:
        handle = await started(stack)
        asked = await handle.approval()
        assert asked is not None
        await stack.lose()
        raw: Any = stack.temporal.get_workflow_handle(handle.job_id)
        await raw.signal(DECIDE, {"verdict": "approve", "by": "bob", "why": "in time"})
        await asyncio.sleep((asked.request.expires - datetime.now(UTC)).total_seconds() + 0.1)
        await stack.hire()
        (result,) = await ended(stack, handle)
        assert result.state is JobState.TIMED_OUT
        assert result.approval is not None
        (late,) = result.approval.decided
        assert late.refused.startswith("too late: the request lapsed at ")


async def test_cancelled_while_a_yes_is_weighed(asking: Asking) -> None:
    async with asking() as stack:
        handle = await started(stack)
        async with locked(stack):
            word = asyncio.create_task(handle.approve("yes", by="bob"))
            await under_way(stack, handle, "review")
            await handle.cancel()
            await reached(handle, JobState.CANCELLED)
        with pytest.raises(PolicyRefused, match="the job ended while the decision was weighed"):
            await word
        (result,) = await ended(stack, handle)
        assert result.state is JobState.CANCELLED
        assert result.approval is not None and result.approval.outcome == "withdrawn"
        assert [d.by for d in result.approval.decided if d.refused] == ["bob"]


async def test_an_audit_log_that_cannot_be_written_does_not_outlast_the_request(
    asking: Asking,
) -> None:
    async with asking("expires = 2.0\n") as stack:
        handle = await started(stack)
        async with locked(stack):
            word = asyncio.create_task(handle.approve("yes", by="bob"))
            await under_way(stack, handle, "review")
            await reached(handle, JobState.TIMED_OUT)
        with pytest.raises(PolicyRefused):
            await word
        (result,) = await ended(stack, handle)
        assert result.unanswered is not None and result.unanswered.layer is Layer.APPROVAL
        assert result.approval is not None and result.approval.outcome == "expired"


async def test_a_decision_before_the_job_was_admitted_is_refused(asking: Asking) -> None:
    async with asking() as stack:
        async with locked(stack):
            handle = await stack.client.start(dear())
            await under_way(stack, handle, "admit")
            with pytest.raises(PolicyRefused, match="no approval is asked for this job"):
                await handle.approve("yes", by="bob")
        await waiting(handle)
        await handle.approve("yes", by="bob")
        (result,) = await ended(stack, handle)
        assert result.state is JobState.COMPLETED
        assert result.approval is not None and len(result.approval.decided) == 1


async def test_one_update_sent_twice_is_one_decision(asking: Asking) -> None:
    async with asking("approvals = 2\n") as stack:
        handle = await started(stack)
        raw: Any = stack.temporal.get_workflow_handle(handle.job_id)
        send = partial(raw.execute_update, DECIDE, result_type=Decided)
        yes = {"verdict": "approve", "by": "bob", "why": "yes"}
        first, again = await asyncio.gather(send(yes, id="one"), send(yes, id="one"))
        assert first == again == await send(yes, id="one")
        assert first.refused == ""
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await send(yes, id="two")
        assert "already approved by 'bob'" in str(refused.value.cause)
        await handle.approve("me too", by="carol")
        (result,) = await ended(stack, handle)
        assert result.approval is not None
        assert [d.by for d in result.approval.counted] == ["bob", "carol"]
        assert len(await stack.parts.audit.entries(subject=handle.job_id)) == 2


async def test_a_flood_of_refused_signals_harms_nobody(asking: Asking) -> None:
    async with asking("four_eyes = true\n") as stack:
        handle = await started(stack)
        raw: Any = stack.temporal.get_workflow_handle(handle.job_id)
        mine = {"verdict": "approve", "by": "alice", "why": "mine" * 500}
        await asyncio.gather(*(raw.signal(DECIDE, mine) for _ in range(60)))
        await handle.approve("fine", by="bob")
        (result,) = await ended(stack, handle)
        assert result.state is JobState.COMPLETED
        assert result.approval is not None
        refused = [d for d in result.approval.decided if d.refused]
        assert {d.by for d in refused} == {"alice"} and len(refused) == 50
        assert [d.by for d in result.approval.counted] == ["bob"]
        history = await raw.fetch_history()
        asked = [
            e for e in history.events if e.HasField("activity_task_scheduled_event_attributes")
        ]
        names = [e.activity_task_scheduled_event_attributes.activity_type.name for e in asked]
        assert names.count("review") == REVIEWED + 1
        assert len(history.events) < 60 * 4 + 6 * REVIEWED + 60


@pytest.mark.parametrize(("way", "last"), [("no", "decided"), ("silence", "expired")])
async def test_people_hear_of_the_end_although_the_job_is_over(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path, way: str, last: str
) -> None:
    with told() as (url, notices):
        policy = ASK + DEAR + "expires = 1.0\nremind = 0.2\n"
        async with asking_stack(dev_env, emulator, tmp_path, policy, notify_url=url) as stack:
            handle = await started(stack)
            if way == "no":
                await handle.reject("no", by="bob")
            await ended(stack, handle)
            assert notices[0]["kind"] == "approval_asked"
            assert (notices[-1]["kind"], notices[-1]["to"]) == (last, ["alice"])


@contextmanager
def told() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A web hook and what it was told."""
    notices: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            notices.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        serving = Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}/", notices
        server.shutdown()
        serving.join()


async def test_a_worker_that_dies_while_it_weighs_leaves_one_decision(asking: Asking) -> None:
    async with asking() as stack:
        handle = await started(stack)
        async with locked(stack):
            word = asyncio.create_task(handle.approve("yes", by="bob"))
            await under_way(stack, handle, "review")
            await stack.lose()
        await stack.hire()
        assert (await word).refused == ""
        (result,) = await ended(stack, handle)
        assert result.state is JobState.COMPLETED
        assert [row.entry.action for row in await stack.parts.audit.entries()] == ["approve"]
