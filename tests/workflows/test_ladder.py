"""Every rung of a ladder, the hedge beside hardware, and more runs of one job."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import dimod
import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment

from adapters.annealing import NealSolver
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.approval import ApprovalDecision, Verdict
from qsaga.core.errors import PolicyRefused
from qsaga.core.jobs import JobRequest
from qsaga.core.results import EstimateAnswer, JobResult, OptimiseAnswer, SampleAnswer
from qsaga.core.states import JobState, Layer, Rung
from qsaga.core.supplied import SuppliedAnswer
from tests.support.stack import Stack, abilene, bell, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

LADDERS = {"optimise": ["annealing"], "sample": ["simulator"], "estimate": ["simulator"]}
ESTIMATOR = """
class Average:
    name = "average/1"

    def estimate(self, workload, seconds):
        if workload["kind"] == "estimate":
            return {"values": [0.5], "standard_errors": [0.25]}
        raise KeyError("never seen")
"""
TWO_BELLS = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\nh q[0];\ncx q[0], q[1];\n'


@pytest.fixture(scope="module")
def two_backends() -> Iterator[EmulatorProcess]:
    """An account with two machines."""
    with EmulatorProcess(noise="none", backend=["ibm_first=torino", "ibm_second=fez"]) as running:
        yield running


@asynccontextmanager
async def with_policy(
    env: WorkflowEnvironment,
    emulator: EmulatorProcess,
    folder: Path,
    ladders: dict[str, list[str]],
    terms: str = "",
    **changes: Any,
) -> AsyncIterator[Stack]:
    """qsaga with ladders and terms of its own."""
    emulator.control.reset()
    every = LADDERS | ladders
    lines = [f"{verb} = {rungs}" for verb, rungs in every.items()]
    policy = folder / "policy.toml"
    policy.write_text(
        'version = "test"\nrules = []\n'
        + terms
        + "\n[ladders]\n"
        + "\n".join(lines)
        + '\n[hardware.prices.default]\nper_quantum_second = "1.60"\n'
    )
    async with running_stack(env, emulator, folder, changes={"policy_file": policy} | changes) as s:
        yield s


def estimate(**changes: object) -> JobRequest:
    """Twice ZZ + twice XX of a Bell pair: the standard error of a shot is above one."""
    workload = {
        "kind": "estimate",
        "circuit": {"source": TWO_BELLS},
        "observables": [{"ZI": 2.0, "IX": 2.0}],
        "precision": 0.05,
    }
    return bell(workload=workload, **changes)


def answered(result: JobResult) -> list[tuple[Rung, str]]:
    return [(attempt.rung, attempt.outcome) for attempt in result.attempts]


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# --- each rung -------------------------------------------------------------------------------


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
    package = tmp_path / "installed"
    facts = package / "average-1.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: average\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[qsaga.estimators]\naverage = average_of:Average\n")
    (package / "average_of.py").write_text(ESTIMATOR)
    monkeypatch.syspath_prepend(package)
    ladders = {"sample": ["learned", "simulator"], "estimate": ["learned", "simulator"]}
    async with with_policy(dev_env, emulator, tmp_path, ladders, estimator="average") as stack:
        result = await stack.run(estimate())
        assert result.provenance is not None
        assert (result.provenance.source, result.provenance.provider) == (
            Rung.LEARNED,
            "average/1",
        )
        assert isinstance(result.answer, EstimateAnswer)
        assert (result.answer.values, result.answer.confidence) == ((0.5,), "unverified")
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


# --- the hedge -------------------------------------------------------------------------------


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


# --- more shots ------------------------------------------------------------------------------


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
        await stack.keep_history("topped_up.job", result.job_id)


async def test_an_answer_without_a_budget_for_more_shots_stands(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    ladders = {"estimate": ["hardware", "simulator"]}
    async with with_policy(dev_env, emulator, tmp_path, ladders, "top_ups = 1") as stack:
        result = await stack.run(estimate(budgets={"quantum_seconds": 3.0}))
        assert result.state is JobState.COMPLETED
        assert isinstance(result.answer, EstimateAnswer)
        assert result.answer.standard_errors[0] > 0.05 * 1.1
        assert answered(result) == [(Rung.HARDWARE, "answered"), (Rung.HARDWARE, "failed")]
        assert "leave nothing of the budgets" in result.attempts[1].reason
        await stack.books_are_clean()


# --- a person --------------------------------------------------------------------------------


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
