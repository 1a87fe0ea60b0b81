"""One look at all waiting remote jobs, again and again, for as long as anybody waits."""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import VersioningBehavior
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from qsaga.core.oversight import WatchStep
    from qsaga.core.roles import queue_of
    from qsaga.core.runs import WATCH
    from workflows.layers import ONE_ATTEMPT, RETRY


@workflow.defn(name=WATCH)
class Watch:
    """The watcher of a deployment and a provider.

    Its one activity is retried between the looks: nothing holds a slot, and the history does not
    grow with the wait. It is started when the first run begins to wait.
    """

    @workflow.run
    async def run(self, deployment: str, queues: dict[str, str] | None = None) -> None:
        """Watch until nobody waits any more."""
        # Of two arguments that may be one, none is checked where they are decoded.
        if not isinstance(deployment, str):
            raise ApplicationError(
                "deployment: not a text (allowed: the name of the deployment)",
                type="InvalidRequest",
                non_retryable=True,
            )
        await workflow.execute_activity_method(
            WatchStep.watch,
            deployment,
            task_queue=queue_of(WatchStep.watch, queues or {}),
            start_to_close_timeout=ONE_ATTEMPT,
            retry_policy=RETRY,
        )


@workflow.defn(name=WATCH, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class VersionedWatch(Watch):
    """The same where workers have versions; a server takes no behaviour where they have none.

    It lasts for as long as anybody waits, whatever version that one is of: pinned, it would keep
    an old version of the workers from ever being drained. So it moves on to the current one, and
    a change of it must replay what an older version began.
    """

    @workflow.run
    async def run(self, deployment: str, queues: dict[str, str] | None = None) -> None:
        """Watch until nobody waits any more."""
        await super().run(deployment, queues)
