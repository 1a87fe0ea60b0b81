"""The rung on which a person gives the answer, or accepts one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.approval import ApprovalDecision, Verdict
from qsaga.core.errors import PolicyRefused
from qsaga.core.jobs import JobRequest
from qsaga.core.results import SampleAnswer
from qsaga.core.states import JobState, Layer, Rung
from qsaga.core.supplied import SuppliedAnswer
from tests.support.ladders import answered, with_policy
from tests.support.stack import Stack, abilene, bell

pytestmark = pytest.mark.asyncio(loop_scope="session")


def yes(answer: SuppliedAnswer | None = None) -> ApprovalDecision:
    return ApprovalDecision(verdict=Verdict.APPROVE, by="ann", why="counted by hand", answer=answer)


async def asked(stack: Stack, request: JobRequest) -> Any:
    handle = await stack.client.start(request)

    async for progress in handle.watch(interval=0.05):
        if progress.job.state is JobState.AWAITING_APPROVAL:
            return handle
    raise AssertionError("nobody was asked")


async def test_a_person_gives_the_answer(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    ladders = {"sample": ["hardware", "manual"]}
    async with with_policy(dev_env, emulator, tmp_path, ladders, hardware=False) as stack:
        handle = await asked(stack, bell())
        with pytest.raises(PolicyRefused, match="answer: missing"):
            await handle.decide(yes())
        with pytest.raises(PolicyRefused, match="a sample job takes counts"):
            await handle.decide(yes(SuppliedAnswer(assignment={"a": 1})))
        counts = {"c": {"00": 3, "11": 2}}
        await handle.decide(yes(SuppliedAnswer(counts=counts)))
        result = await stack.result(handle)
        assert result.state is JobState.DEGRADED
        assert isinstance(result.answer, SampleAnswer)
        assert (result.answer.counts, result.answer.confidence) == (counts, "unverified")
        assert result.provenance is not None
        assert result.provenance.source is Rung.MANUAL
        assert result.provenance.detail["by"] == "ann"
        assert result.review is not None
        assert result.review.outcome == "approved"
        assert result.approval is None
        await stack.keep_history("manual.job", result.job_id)


async def test_a_person_accepts_the_last_known_answer(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    ladders = {"optimise": ["hardware", "manual", "annealing"]}
    async with with_policy(dev_env, emulator, tmp_path, ladders, hardware=False) as stack:
        first = await stack.run(abilene(route="annealing"))
        handle = await asked(stack, abilene())
        question = (await handle.approval()).request
        assert first.job_id in question.plan
        await handle.decide(yes())
        result = await stack.result(handle)
        assert result.answer is not None
        assert result.answer == first.answer
        assert result.provenance is not None
        assert result.provenance.detail["accepted"] is True


async def test_a_last_known_answer_that_is_not_kept_any_more_is_none(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    ladders = {"optimise": ["hardware", "manual", "annealing"]}
    async with with_policy(dev_env, emulator, tmp_path, ladders, hardware=False) as stack:
        first = await stack.run(abilene(route="annealing"))
        handle = await asked(stack, abilene())
        assert first.provenance is not None
        kept = first.provenance.artefacts["result"]
        assert stack.parts.artefacts.delete(kept, datetime.max.replace(tzinfo=UTC))
        await handle.decide(yes())
        result = await stack.result(handle)
        assert answered(result) == [(Rung.MANUAL, "failed"), (Rung.ANNEALING, "answered")]
        assert "is not kept any more" in result.attempts[0].reason


async def test_nobody_answers_in_time(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    ladders = {"sample": ["hardware", "manual"]}
    async with with_policy(
        dev_env, emulator, tmp_path, ladders, "[review]\nexpires = 0.5", hardware=False
    ) as stack:
        result = await stack.run(bell())
        assert result.state is JobState.TIMED_OUT
        assert result.unanswered is not None
        assert result.unanswered.layer is Layer.APPROVAL
        described = await stack.temporal.get_workflow_handle(result.job_id).describe()
        assert described.status is WorkflowExecutionStatus.COMPLETED
