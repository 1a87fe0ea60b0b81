"""The least that a workflow with as many steps as a job can do."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow

QUEUE = "bare"


@activity.defn
async def nothing(given: str) -> str:
    """As much work as none."""
    return given


@workflow.defn
class Bare:
    """Does nothing, step by step."""

    @workflow.run
    async def run(self, remote: int, local: int) -> int:
        """Do nothing so many times; returns how many.

        Args:
            remote: activities that go through a task queue, one after the other.
            local: local activities, after these.
        """
        patience = timedelta(seconds=60)
        for step in range(remote):
            await workflow.execute_activity(nothing, str(step), start_to_close_timeout=patience)
        for step in range(local):
            await workflow.execute_local_activity(
                nothing, str(step), start_to_close_timeout=patience
            )
        return remote + local
