"""One look at all waiting remote jobs, again and again, for as long as anybody waits."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from qsaga.core.runs import WATCH
    from qsaga.core.steps import WatchStep
    from workflows.layers import ONE_ATTEMPT, RETRY


@workflow.defn(name=WATCH)
class Watch:
    """The watcher of a deployment and a provider.

    Its one activity is retried between the looks: nothing holds a slot, and the history does not
    grow with the wait. It is started when the first run begins to wait.
    """

    @workflow.run
    async def run(self, deployment: str) -> None:
        """Watch until nobody waits any more."""
        await workflow.execute_activity_method(
            WatchStep.watch,
            deployment,
            start_to_close_timeout=ONE_ATTEMPT,
            retry_policy=RETRY,
        )
