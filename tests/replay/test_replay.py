"""Recorded histories of every branch still replay: no edit may break a job under way."""

import base64
import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from qsaga.payloads import data_converter
from qsaga.settings import Settings
from tests.workflows.test_contracts import CONTRACTS
from workflows.identified import IdentifiedWorkflows
from workflows.registered import WORKFLOWS

RESTRICTIONS = SandboxRestrictions.default.with_passthrough_modules(
    "pydantic", "pydantic_core", "annotated_types", "qsaga.core"
)
HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))

BRANCHES = {
    "adopted.run",
    "approved.job",
    "cancelled.job",
    "approved.loop",
    "cancelled.loop",
    "cancelled_unjudged.loop",
    "cancelled.run",
    "completed.job",
    "completed.loop",
    "completed_unjudged.loop",
    "completed.run",
    "deadline.job",
    "degraded_forecast.job",
    "degraded_waiting.job",
    "degraded_waiting.run",
    "expired.job",
    "failed_remote.job",
    "failed_remote.run",
    "guarded.job",
    "guarded.run",
    "gate_passed.job",
    "gate_refused.job",
    "hedged_completed.job",
    "hedged_in_queue.job",
    "incumbent.job",
    "learned.job",
    "manual.job",
    "other_backend.job",
    "planned.plan",
    "proven.job",
    "replaced.session",
    "topped_up.job",
    "late.job",
    "late.run",
    "quarantined.run",
    "refused.job",
    "refused_budget.job",
    "rejected.job",
    "sent_again.run",
    "shared.run",
    "shared.session",
    "terminated.job",
    "terminated_then_closed.run",
    "timed_out_admit.job",
    "timed_out_compile.run",
    "timed_out_encode.job",
    "timed_out_execution.run",
    "timed_out_postprocess.job",
    "timed_out_retrieval.run",
    "timed_out_simulate.job",
    "timed_out_submit.run",
    "told.operation",
    "told.run",
    "waits.watch",
    "unwritten.job",
    "unwritten_late.job",
    "watched.run",
}


def test_every_branch_is_recorded() -> None:
    assert {path.stem for path in HISTORIES} >= BRANCHES, "run `make record-histories`"


def test_every_workflow_and_step_is_in_a_history() -> None:
    workflows: set[str | None] = set()
    steps: set[str | None] = set()
    for path in HISTORIES:
        for event in json.loads(path.read_text())["history"]["events"]:
            started = event.get("workflowExecutionStartedEventAttributes", {})
            workflows.add(started.get("workflowType", {}).get("name"))
            scheduled = event.get("activityTaskScheduledEventAttributes", {})
            steps.add(scheduled.get("activityType", {}).get("name"))
            marked = event.get("markerRecordedEventAttributes", {}).get("details", {})
            for payload in marked.get("data", {}).get("payloads", ()):  # a local activity
                steps.add(json.loads(base64.b64decode(payload["data"])).get("activity_type"))
    assert workflows - {None} == {kind.__name__ for kind in WORKFLOWS}
    assert set(CONTRACTS) - steps == set()


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_history_replays(path: Path, tmp_path: Path) -> None:
    kept = json.loads(path.read_text())
    history = WorkflowHistory.from_json(kept["workflow_id"], kept["history"])
    replayer = Replayer(
        workflows=WORKFLOWS,
        data_converter=data_converter(Settings(data_dir=tmp_path)),
        # Workers have none; here it finds what they would not notice.
        workflow_runner=SandboxedWorkflowRunner(restrictions=RESTRICTIONS),
        # Without keys: what a token or a seal was worth is in the history.
        interceptors=[IdentifiedWorkflows(None, None)],
    )
    await replayer.replay_workflow(history)
