"""Workflow tasks that failed, and why the server or the worker says they did."""

from __future__ import annotations

from collections.abc import Sequence

from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.history.v1 import WorkflowTaskFailedEventAttributes
from temporalio.client import Client

OVERTAKEN = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
"""Something came in while the workflow wanted to end: the server has it look at that first."""


async def failed_tasks(client: Client, workflow_id: str) -> list[WorkflowTaskFailedEventAttributes]:
    """All of a workflow, oldest first."""
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    return [
        event.workflow_task_failed_event_attributes
        for event in history.events
        if event.HasField("workflow_task_failed_event_attributes")
    ]


def faults(failed: Sequence[WorkflowTaskFailedEventAttributes]) -> list[str]:
    """Those that no healthy workflow has, in words: every cause but ``OVERTAKEN``."""
    return [
        f"{WorkflowTaskFailedCause.Name(one.cause)} {one.failure.message}".strip()
        for one in failed
        if one.cause != OVERTAKEN
    ]
