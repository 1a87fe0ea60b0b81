"""The least that a workflow with as many steps as a job can do."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow

REMOTE_STEPS = 4


@activity.defn
async def nothing(given: str) -> str:
    """As much work as none."""
    return given


@workflow.defn
class Bare:
    """As many activities as a job on the simulator: four remote, one local."""

    @workflow.run
    async def run(self, given: str) -> str:
        """Do nothing five times."""
        patience = timedelta(seconds=10)
        for _ in range(REMOTE_STEPS):
            await workflow.execute_activity(nothing, given, start_to_close_timeout=patience)
        return await workflow.execute_local_activity(
            nothing, given, start_to_close_timeout=patience
        )
