"""The hedge beside hardware, and more runs of one job for the shots that it lacks."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import dimod
import pytest
from temporalio.testing import WorkflowEnvironment

from adapters.annealing import NealSolver
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.jobs import submission_tag
from qsaga.core.operations import Forget
from qsaga.core.outcome import BEST_SERVED
from qsaga.core.results import Confidence, EstimateAnswer, OptimiseAnswer
from qsaga.core.runs import JobAccount
from qsaga.core.states import JobState, Rung
from tests.support.ladders import answered, estimate, files_in, with_policy
from tests.support.scheduled import until
from tests.support.stack import Stack, abilene

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_hedge_answers_when_the_queue_is_too_long(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    ladders = {"optimise": ["hardware", "annealing"]}
    terms = "[hedge]\nafter = 0.1"
    async with with_policy(dev_env, emulator, tmp_path, ladders, terms) as stack:
        emulator.control.set_queue(1000, 1000)
        result = await stack.run(abilene(budgets={"queue": 2.0, "solve": 0.3}))
        assert result.state is JobState.DEGRADED
        assert answered(result) == [(Rung.HARDWARE, "timed_out"), (Rung.ANNEALING, "answered")]
        # It was solved while the hardware waited, and not again afterwards.
        history = await stack.temporal.get_workflow_handle(result.job_id).fetch_history()
        steps = [
            event.activity_task_scheduled_event_attributes.activity_type.name
            for event in history.events
        ]
        assert steps.count("solve") == 1
        assert result.comparison is None
        await stack.settled(result)
        await stack.books_are_clean()
        await stack.keep_history("hedged_in_queue.job", result.job_id)


async def test_the_better_of_both_is_served_and_both_are_recorded(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    ladders = {"optimise": ["hardware", "annealing"]}
    terms = "[hedge]\nafter = 0.1\nseconds = 0.2"
    async with with_policy(dev_env, emulator, tmp_path, ladders, terms) as stack:
        emulator.control.set_queue(2, 1.0)
        result = await stack.run(abilene())
        assert result.state is JobState.COMPLETED
        assert answered(result) == [(Rung.HARDWARE, "answered"), (Rung.ANNEALING, "answered")]
        found = result.comparison
        assert found is not None
        assert found.classical == 12
        assert found.gain == found.hardware - found.classical
        assert found.served is (Rung.HARDWARE if found.gain >= 0 else Rung.ANNEALING)
        assert isinstance(result.answer, OptimiseAnswer)
        assert result.answer.quality.objective == max(found.hardware, found.classical)
        assert found.rule == BEST_SERVED
        hardware, annealed = found.contenders
        assert (hardware.rung, annealed.rung) == (Rung.HARDWARE, Rung.ANNEALING)
        assert (hardware.objective, annealed.objective) == (found.hardware, found.classical)
        assert hardware.run_id and hardware.backend == "ibm_torino"
        assert {hardware.confidence, annealed.confidence} <= {
            Confidence.BETTER_THAN_BASELINE,
            Confidence.FEASIBLE,
        }
        # Both outputs can be looked at again.
        for each in found.contenders:
            assert each.result is not None and stack.parts.artefacts.get(each.result)
        record = await stack.record(result.job_id)
        assert record.result is not None and record.result.comparison == found
        assert result.cost.classical_seconds > 0
        await stack.books_are_clean()
        assert files_in(stack.settings.data_dir / "incumbents") == []
        await stack.keep_history("hedged_completed.job", result.job_id)


async def test_a_job_that_is_answered_soon_does_not_pay_for_the_hedge(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    ladders = {"optimise": ["hardware", "annealing"]}
    async with with_policy(dev_env, emulator, tmp_path, ladders, "[hedge]\nafter = 3600") as stack:
        result = await stack.run(abilene())
        assert answered(result) == [(Rung.HARDWARE, "answered")]
        assert result.cost.classical_seconds == 0


async def test_what_a_lost_solver_has_found_is_served(
    dev_env: WorkflowEnvironment,
    emulator: EmulatorProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = threading.Event()

    def lost(self: NealSolver, bqm: bytes, *args: object, **given: Any) -> bytes:
        """Finds something, says so, and is never heard of again."""
        model = dimod.BinaryQuadraticModel.from_file(bqm)
        names = list(model.variables)
        row = [index % 2 for index in range(len(names))]
        found = dimod.SampleSet.from_samples_bqm(([row], names), model)
        given["better"](json.dumps(found.to_serializable()).encode())
        released.wait(30)
        return b""

    monkeypatch.setattr(NealSolver, "solve", lost)
    ladders = {"optimise": ["annealing"]}
    async with with_policy(dev_env, emulator, tmp_path, ladders) as stack:
        request = abilene(route=None, budgets={"deadline": 5.0, "solve": 0.5})
        result = await stack.run(request)
        released.set()
        assert result.state is JobState.COMPLETED
        assert result.provenance is not None
        assert result.provenance.detail["incumbent"] is True
        taken = (result.transitions[-1].at - result.transitions[0].at).total_seconds()
        assert taken < 5.0
        await stack.keep_history("incumbent.job", result.job_id)


async def the_account_is_true(stack: Stack, emulator: EmulatorProcess, job_id: str) -> JobAccount:
    """The charges are those of the emulator's jobs, each once, and its runs are all closed."""
    account = await stack.client.job(job_id).account()
    charged = sum(job["charged_seconds"] for job in emulator.control.jobs())
    assert sum(charge.cost.quantum_seconds for charge in account.charges) == charged
    assert account.closed
    assert [report.run_id for report in account.runs] == list(account.result.runs)
    return account


async def test_the_shots_that_an_answer_lacks_are_bought(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    ladders = {"estimate": ["hardware", "simulator"]}
    async with with_policy(dev_env, emulator, tmp_path, ladders, "top_ups = 1") as stack:
        result = await stack.run(estimate())
        assert result.state is JobState.COMPLETED
        assert isinstance(result.answer, EstimateAnswer)
        assert result.answer.standard_errors[0] <= 0.05 * 1.1
        assert result.answer.values[0] == pytest.approx(0.0, abs=0.3)
        assert result.provenance is not None
        assert len(result.provenance.provider_job_ids) == 2
        jobs = emulator.control.jobs()
        assert len(jobs) == 2
        await stack.books_are_clean()
        record = await stack.record(result.job_id)
        charged = sum(job["charged_seconds"] for job in jobs)
        assert sum(charge.cost.quantum_seconds for charge in record.charges) == charged
        assert result.cost.quantum_seconds == charged
        account = await the_account_is_true(stack, emulator, result.job_id)
        assert len(result.runs) == 2
        await stack.keep_history("topped_up.job", result.job_id)
        outputs = [report.raw.result for report in account.runs if report.raw]
        assert len({stack.parts.artefacts.get(each) for each in outputs}) == 2
        await stack.client.operate(Forget(job_id=result.job_id, why="test"), by="ops")
        for each in outputs:
            with pytest.raises(KeyError):
                stack.parts.artefacts.get(each)


async def test_an_answer_without_a_budget_for_more_shots_stands(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    ladders = {"estimate": ["hardware", "simulator"]}
    async with with_policy(dev_env, emulator, tmp_path, ladders, "top_ups = 1") as stack:
        emulator.control.set_execution(overhead_seconds=2.0)
        result = await stack.run(estimate(budgets={"quantum_seconds": 3.0}))
        assert result.state is JobState.COMPLETED
        assert isinstance(result.answer, EstimateAnswer)
        assert result.answer.standard_errors[0] > 0.05 * 1.1
        assert answered(result) == [(Rung.HARDWARE, "answered"), (Rung.HARDWARE, "failed")]
        assert "leave nothing of the budgets" in result.attempts[1].reason
        assert result.attempts[1].run_id is None
        assert len(result.runs) == 1
        await stack.books_are_clean()
        await the_account_is_true(stack, emulator, result.job_id)


async def test_a_job_that_is_cancelled_while_more_shots_are_bought_accounts_for_both_runs(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    ladders = {"estimate": ["hardware", "simulator"]}
    async with with_policy(dev_env, emulator, tmp_path, ladders, "top_ups = 1") as stack:
        request = estimate()
        second = submission_tag(stack.settings.deployment, request.job_id, 1)
        emulator.control.set_plan({"on": "submit", "do": "answer", "status": 503, "tag": second})
        handle = await stack.client.start(request)

        async def begun() -> bool:
            return (await handle.progress()).job.run_id == second

        await until("a second run", begun)
        await handle.cancel()
        result = await handle.result()
        emulator.control.set_plan()
        assert result.state is JobState.CANCELLED
        assert len(result.runs) == 2
        await stack.settled(result)
        await stack.books_are_clean()
        await the_account_is_true(stack, emulator, result.job_id)
