"""Files that nobody needs any more are deleted by a schedule, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.claims import REFERENCE
from qsaga.core.jobs import JobRequest
from qsaga.core.operations import Sweep
from qsaga.core.runs import GIVE_UP
from tests.support.scheduled import (
    LONG,
    deployment,
    files_of,
    make_old,
    nothing_is_left,
    queued,
    reconciled,
    scheduled,
    slow,
    terminate,
    until,
)
from tests.support.stack import Stack, abilene

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

UNREADABLE = RawValue(
    Payload(metadata={"encoding": b"json/protobuf", "messageType": REFERENCE}, data=b"{,")
)

TABLES = (
    *("late_results", "charges", "runs", "transitions", "attempts", "timings", "approvals"),
    *("lineage", "job_artefacts", "jobs"),
)


@pytest.fixture(autouse=True)
def slow_queue(emulator: EmulatorProcess) -> None:
    """Nothing starts by itself."""
    emulator.control.reset()
    slow(emulator)


async def _delete(stack: Stack, *workflow_ids: str) -> None:
    """As Temporal does when its retention is over."""
    for workflow_id in workflow_ids:
        await stack.temporal.workflow_service.delete_workflow_execution(
            DeleteWorkflowExecutionRequest(
                namespace=stack.temporal.namespace,
                workflow_execution=WorkflowExecution(workflow_id=workflow_id),
            )
        )

        async def gone(workflow_id: str = workflow_id) -> bool:
            try:
                await stack.temporal.get_workflow_handle(workflow_id).describe()
            except RPCError as error:
                return error.status is RPCStatusCode.NOT_FOUND
            return False

        await until(f"{workflow_id} is deleted", gone)

        async def unlisted(workflow_id: str = workflow_id) -> bool:
            query = f"WorkflowId = '{workflow_id}'"
            return (await stack.temporal.count_workflows(query)).count == 0

        await until(f"{workflow_id} is not listed", unlisted)


def _edges(name: str) -> JobRequest:
    """A problem whose payloads are large and whose artefacts nobody else has."""
    nodes = [f"{name}-{number}-{'x' * 40}" for number in range(9)]
    edges = [[a, b] for i, a in enumerate(nodes) for b in nodes[i + 1 :]]
    problem = {"name": "maxcut", "data": {"edges": edges}}
    workload = {"kind": "optimise", "problem": problem, "shots": 64, "algorithm": {"depth": 1}}
    return abilene(workload=workload)


async def test_files_that_nobody_refers_to_are_deleted(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    folder = tmp_path / "two"
    async with deployment(dev_env, emulator, folder) as two:
        emulator.control.set_queue(0, 0.0)
        kept = await two.run(_edges("kept"))
        await two.settled(kept)
        needed = files_of(folder)
        emulator.control.set_queue(5, LONG)
        dead, dead_run = await queued(two, _edges("dead"))
        # A reference that cannot be read refers to nothing, and holds nothing up.
        await two.temporal.get_workflow_handle(dead.job_id).signal(GIVE_UP, UNREADABLE)
        await terminate(two, dead.job_id, dead_run)
        left = files_of(folder) - needed
        assert {path.relative_to(folder).parts[0] for path in left} == {"artefacts", "payloads"}
        make_old(folder)
        # A job that is as old has no end yet, and all files may be its own.
        async with two.parts.engine.begin() as connection:
            await connection.execute(
                text("UPDATE jobs SET opened = '2020-01-01 00:00:00.000000' WHERE job_id = :id"),
                {"id": dead.job_id},
            )
        assert (await scheduled(two, "sweep")).swept[0].garbage == 0
        await reconciled(two)
        make_old(folder)
        counted = await two.client.operate(Sweep())
        assert counted.swept[0].garbage > 0 and counted.swept[0].deleted == 0
        assert left <= files_of(folder), "counting deletes nothing"
        # Temporal still has the histories of both.
        swept = {each.store: each for each in (await scheduled(two, "sweep")).swept}
        assert swept["artefacts"].deleted == counted.swept[0].garbage
        assert "cache entries" in swept
        assert swept["artefacts"].deleted_bytes == counted.swept[0].garbage_bytes > 0
        assert {path for path in files_of(folder) if "artefacts" in path.parts} == {
            path for path in needed if "artefacts" in path.parts
        }
        # Answers to queries are in no history; the rest of it is.
        held = {path for path in left & files_of(folder) if "payloads" in path.parts}
        assert held
        assert (await dead.progress()).job.job_id == dead.job_id, "it can still be asked"
        await _delete(two, dead.job_id, dead_run)
        make_old(folder)
        await scheduled(two, "sweep")
        # What its plan was given, Temporal still holds.
        assert held - files_of(folder)
        assert {path for path in needed if "artefacts" in path.parts} <= files_of(folder)
        assert await two.client.job(kept.job_id).result() == kept


async def test_a_file_that_a_job_at_work_has_just_stored_stays(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    folder = tmp_path / "two"
    async with deployment(dev_env, emulator, folder) as two:
        handle, _ = await queued(two, _edges("working"))
        fresh = files_of(folder)
        await scheduled(two, "sweep")
        assert fresh <= files_of(folder)
        await handle.cancel()
        result = await two.result(handle)
        await two.settled(result)
        await nothing_is_left(two, handle.job_id)


async def test_a_table_that_has_lost_jobs_deletes_nofiles_of(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    folder = tmp_path / "two"
    async with deployment(dev_env, emulator, folder) as two:
        emulator.control.set_queue(0, 0.0)
        result = await two.run(_edges("lost"))
        await two.settled(result)

        async def listed() -> bool:
            query = f"WorkflowId = '{result.job_id}' AND ExecutionStatus = 'Completed'"
            return (await two.temporal.count_workflows(query)).count == 1

        await until("Temporal lists the job as completed", listed)
        async with two.parts.engine.begin() as connection:
            for table in TABLES:
                await connection.execute(text(f"DELETE FROM {table}"))
        make_old(folder)
        before = files_of(folder)
        report = await scheduled(two, "sweep")
        assert "qsaga rebuild" in report.text and result.job_id in report.text
        assert before <= files_of(folder)
