"""Work that was done before is used again, by its tenant alone, and goes with his jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from adapters.cache import FolderCache
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.jobs import JobRequest
from qsaga.core.operations import Forget, Reproduce
from qsaga.core.results import BoundFrom, JobResult
from qsaga.core.states import JobState, Rung
from tests.support.ladders import files_in, with_policy
from tests.support.stack import Stack, abilene, bell, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="session")
LADDERS = {"optimise": ["hardware", "annealing"]}


def angled(gamma: float, **changes: Any) -> JobRequest:
    """One structure, with angles of its own."""
    algorithm = {"depth": 1, "angles": "given", "gammas": [gamma], "betas": [-0.4]}
    workload = abilene().workload.model_dump(mode="json") | {"algorithm": algorithm}
    return abilene(workload=workload, **changes)


async def bound(stack: Stack, request: JobRequest) -> tuple[JobResult, BoundFrom]:
    result = await stack.run(request)
    assert result.state is JobState.COMPLETED
    assert result.provenance is not None and result.provenance.source is Rung.HARDWARE
    assert result.provenance.circuit is not None
    found = result.provenance.circuit.bound_from
    assert found is not None
    await stack.settled(result)
    return result, found


def encoded_before(result: JobResult) -> bool:
    assert result.lineage is not None
    return result.lineage.encoded_before


async def test_jobs_of_one_structure_share_a_compiled_template(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    async with with_policy(dev_env, emulator, tmp_path, LADDERS) as stack:
        _, first = await bound(stack, angled(0.3))
        assert not first.from_cache
        second, template = await bound(stack, angled(0.7))
        assert template.from_cache and template.key == first.key
        assert not encoded_before(second), "other angles are another input"
        _, strangers = await bound(stack, angled(0.7, tenant="stranger"))
        assert not strangers.from_cache
        report = await stack.client.operate(Reproduce(job_id=second.job_id))
        assert report.reproduction is not None and report.reproduction.same
        emulator.control.change_backend("ibm_torino", recalibrate=True)
        _, newer = await bound(stack, angled(0.8))
        assert not newer.from_cache and newer.key != template.key
        # Another worker of the deployment, which has compiled nothing so far.
        changes = {"policy_file": tmp_path / "policy.toml"}
        async with running_stack(dev_env, emulator, tmp_path, changes=changes) as other:
            _, found = await bound(other, angled(0.9))
            assert found.from_cache and found.key == newer.key


async def test_a_problem_is_encoded_once_for_its_tenant(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    async with with_policy(dev_env, emulator, tmp_path, LADDERS) as stack:
        first = await stack.run(abilene(route="annealing"))
        again = await stack.run(
            abilene(route="annealing", budgets={"solve": 0.4, "deadline": 80_000, "execution": 77})
        )
        stranger = await stack.run(abilene(route="annealing", tenant="stranger"))
        assert [encoded_before(one) for one in (first, again, stranger)] == [False, True, False]
        assert first.provenance is not None and again.provenance is not None
        for what in ("model", "circuit"):
            assert first.provenance.artefacts[what] == again.provenance.artefacts[what]
        # What the first one left is needed by the second.
        await stack.client.operate(Forget(job_id=first.job_id, why="test"), by="ops")
        report = await stack.client.operate(Reproduce(job_id=again.job_id))
        assert report.reproduction is not None and report.reproduction.same
        anew = await stack.run(abilene(route="annealing"))
        assert not encoded_before(anew), "his entries went with the job"
        still = await stack.run(abilene(route="annealing", tenant="stranger"))
        assert encoded_before(still)


async def test_a_forgotten_job_leaves_no_entry(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    async with with_policy(dev_env, emulator, tmp_path, LADDERS) as stack:
        result, _ = await bound(stack, angled(0.3, tenant="leaver"))
        folder = stack.settings.data_dir / "cache"
        assert len(files_in(folder)) == 2, "a problem and a template"
        await stack.client.operate(Forget(job_id=result.job_id, why="test"), by="ops")
        assert files_in(folder) == []


async def test_an_earlier_answer_is_served_before_anything_is_spent_if_that_is_asked_for(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    terms, ladders = "cached_max_age = 3600", {"sample": ["hardware", "simulator"]}
    async with with_policy(dev_env, emulator, tmp_path, ladders, terms) as stack:
        jobs = stack.emulator.control.jobs
        none_yet = await stack.run(bell(route="hardware", reuse=600))
        assert source(none_yet) is Rung.HARDWARE
        again = await stack.run(bell(route="hardware", reuse=600))
        assert (source(again), again.state) == (Rung.CACHED, JobState.COMPLETED)
        assert again.answer == none_yet.answer
        assert again.cost.quantum_seconds == 0
        assert len(jobs()) == 1
        others: tuple[dict[str, Any], ...] = (
            {"reuse": 0.001},
            {},
            {"reuse": 600, "tenant": "stranger"},
        )
        for other in others:
            result = await stack.run(bell(route="hardware", **other))
            assert source(result) is Rung.HARDWARE
            await stack.settled(result)
        assert len(jobs()) == 4
        await stack.settled(none_yet)
        await stack.books_are_clean()


async def test_a_policy_that_serves_no_earlier_answers_has_the_last_word(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    async with with_policy(dev_env, emulator, tmp_path, {}) as stack:
        for _ in range(2):
            result = await stack.run(bell(reuse=600))
            assert source(result) is Rung.SIMULATOR
            assert result.state is JobState.COMPLETED


def source(result: JobResult) -> Rung:
    assert result.provenance is not None
    return result.provenance.source


async def test_where_it_is_switched_off_nothing_is_kept(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    async with with_policy(dev_env, emulator, tmp_path, LADDERS, work_cache=False) as stack:
        for gamma in (0.3, 0.3):
            result = await stack.run(angled(gamma))
            assert result.provenance is not None and result.provenance.circuit is not None
            assert result.provenance.circuit.bound_from is None
            assert not encoded_before(result)
            await stack.settled(result)
        assert FolderCache(stack.settings.data_dir / "cache").count() == 0
