"""Every rung of a ladder that needs no person."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.results import EstimateAnswer, OptimiseAnswer
from qsaga.core.states import JobState, Rung
from tests.support.estimators import NAME, installed
from tests.support.ladders import answered, estimate, files_in, with_policy
from tests.support.stack import abilene, bell

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAR = datetime.max.replace(tzinfo=UTC)


@pytest.fixture(scope="module")
def two_backends() -> Iterator[EmulatorProcess]:
    """An account with two machines."""
    with EmulatorProcess(noise="none", backend=["ibm_first=torino", "ibm_second=fez"]) as running:
        yield running


@pytest.mark.parametrize("rung", [Rung.SIMULATOR, Rung.ANNEALING, Rung.EXACT])
async def test_a_rung_of_our_own_answers(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path, rung: Rung
) -> None:
    ladders = {"optimise": ["annealing", "exact", "simulator"]}
    async with with_policy(dev_env, emulator, tmp_path, ladders) as stack:
        result = await stack.run(abilene(route=rung))
        assert result.state is JobState.COMPLETED
        assert result.provenance is not None
        assert result.provenance.source is rung
        assert isinstance(result.answer, OptimiseAnswer)
        assert result.answer.quality.objective == 12
        assert files_in(stack.settings.data_dir / "incumbents") == []
        await stack.books_are_clean()


async def test_an_earlier_answer_is_served_with_its_age(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    ladders = {"sample": ["hardware", "cached"], "optimise": ["cached", "annealing"]}
    async with with_policy(
        dev_env, emulator, tmp_path, ladders, "cached_max_age = 3600", hardware=True
    ) as stack:
        first = await stack.run(bell())
        assert first.state is JobState.COMPLETED
        other = await stack.run(bell(tenant="stranger", route="cached"))
        assert answered(other) == [(Rung.HARDWARE, "answered")]
        again = await stack.run(bell(route="cached"))
        assert again.state is JobState.COMPLETED
        assert again.answer == first.answer
        assert again.provenance is not None
        assert again.provenance.source is Rung.CACHED
        assert again.provenance.detail["of_job"] == first.job_id
        assert again.provenance.detail["source"] == "hardware"
        age = again.provenance.detail["age_seconds"]
        assert isinstance(age, float)
        assert 0 < age < 60
        assert again.cost.quantum_seconds == 0
        # Of a served answer no other is made, or its age would be forgotten.
        third = await stack.run(bell(route="cached"))
        assert third.provenance is not None
        assert third.provenance.detail["of_job"] == first.job_id


async def test_an_earlier_answer_that_is_not_kept_any_more_is_no_answer(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    ladders = {"sample": ["cached", "simulator"]}
    async with with_policy(dev_env, emulator, tmp_path, ladders, "cached_max_age = 3600") as stack:
        first = await stack.run(bell(route="simulator"))
        assert first.provenance is not None
        # As if somebody had the first job forgotten just after it was looked up.
        assert stack.parts.artefacts.delete(first.provenance.artefacts["result"], FAR)
        result = await stack.run(bell(route="cached"))
        assert answered(result) == [(Rung.CACHED, "failed"), (Rung.SIMULATOR, "answered")]
        assert result.state is JobState.DEGRADED
        assert f"the answer of {first.job_id} is not kept" in result.attempts[0].reason
        history = await stack.temporal.get_workflow_handle(result.job_id).fetch_history()
        tries = [
            event.activity_task_started_event_attributes.attempt
            for event in history.events
            if event.HasField("activity_task_started_event_attributes")
        ]
        assert set(tries) == {1}, "what is gone does not come back"


async def test_where_nothing_earlier_is_new_enough_the_ladder_goes_on(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    ladders = {"optimise": ["cached", "annealing"]}
    async with with_policy(dev_env, emulator, tmp_path, ladders, "cached_max_age = 0.001") as stack:
        for reason in ("no earlier answer", "s old, the policy takes"):
            result = await stack.run(abilene(route=None))
            assert result.state is JobState.DEGRADED
            assert result.decision is not None
            assert reason in result.decision.refused[0].reason


async def test_the_users_estimator_answers(
    dev_env: WorkflowEnvironment,
    emulator: EmulatorProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(installed(tmp_path))
    ladders = {"sample": ["learned", "simulator"], "estimate": ["learned", "simulator"]}
    async with with_policy(dev_env, emulator, tmp_path, ladders, estimator=NAME) as stack:
        result = await stack.run(estimate())
        assert result.provenance is not None
        assert (result.provenance.source, result.provenance.provider) == (
            Rung.LEARNED,
            "average/1",
        )
        assert isinstance(result.answer, EstimateAnswer)
        assert (result.answer.values, result.answer.confidence) == ((0.5,), "unverified")
        await stack.keep_history("learned.job", result.job_id)
        failed = await stack.run(bell())
        assert answered(failed) == [(Rung.LEARNED, "failed"), (Rung.SIMULATOR, "answered")]
        assert "never seen" in failed.attempts[0].reason


async def test_another_backend_answers_within_what_is_left(
    dev_env: WorkflowEnvironment, two_backends: EmulatorProcess, tmp_path: Path
) -> None:
    ladders = {"sample": ["hardware", "other_backend", "simulator"]}
    async with with_policy(dev_env, two_backends, tmp_path, ladders) as stack:
        control = two_backends.control
        control.set_plan({"do": "fail", "backend": "ibm_first"})
        control.set_queue(0, 0.1)
        result = await stack.run(bell(route="hardware"))
        assert answered(result) == [(Rung.HARDWARE, "failed"), (Rung.OTHER_BACKEND, "answered")]
        assert result.state is JobState.COMPLETED
        assert result.provenance is not None
        assert result.provenance.backend == "ibm_second"
        runs = [attempt.run_id for attempt in result.attempts]
        assert len(set(runs)) == 2
        await stack.settled(result)
        await stack.books_are_clean()
        await stack.keep_history("other_backend.job", result.job_id)
        record = await stack.record(result.job_id)
        charged = sum(job["charged_seconds"] for job in control.jobs())
        assert sum(charge.cost.quantum_seconds for charge in record.charges) == charged


async def test_no_second_backend_without_a_budget_for_it(
    dev_env: WorkflowEnvironment, two_backends: EmulatorProcess, tmp_path: Path
) -> None:
    ladders = {"sample": ["hardware", "other_backend", "simulator"]}
    async with with_policy(dev_env, two_backends, tmp_path, ladders) as stack:
        control = two_backends.control
        control.set_plan({"do": "fail", "charged": True})
        control.set_queue(0, 0.1)
        request = bell(route="hardware", budgets={"quantum_seconds": 3.0})
        result = await stack.run(request)
        assert [attempt.rung for attempt in result.attempts] == [
            Rung.HARDWARE,
            Rung.OTHER_BACKEND,
            Rung.SIMULATOR,
        ]
        assert "leave nothing of the budgets" in result.attempts[1].reason
        assert result.state is JobState.DEGRADED
        await stack.settled(result)
        await stack.books_are_clean()
