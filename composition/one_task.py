"""A workflow takes in one workflow task at a time, also after a query ran ahead of it."""

from __future__ import annotations

from collections.abc import Callable

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import (
    UnsandboxedWorkflowRunner,
    WorkflowInstance,
    WorkflowInstanceDetails,
)

Activate = Callable[[WorkflowActivation], WorkflowActivationCompletion]

AHEAD = "a query had this worker read events of a workflow task before it began: taken up anew"


class OneTaskAtATime(UnsandboxedWorkflowRunner):
    """Runs workflows that are queried while their worker is lost.

    A query that goes to a worker without the workflow in its cache brings the whole history, also
    events of which no workflow task has begun. SDK Core (temporalio 1.35) applies them and keeps
    the commands. If that worker gets the workflow task as well, with an update or signal, the
    commands come before what the update does; every later replay takes both in one activation,
    signals and updates first, and fails as nondeterministic: the workflow is stuck for ever. So
    such a workflow task is failed once. The server sends it again with the whole history, and it
    is taken in as it will be replayed.
    """

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """See ``WorkflowRunner``."""
        instance = super().create_instance(det)
        # The class of the instance is private to the SDK.
        setattr(instance, "activate", OneTask(instance.activate))  # noqa: B010
        return instance


class OneTask:
    """Activates an instance, except where it is ahead of its workflow task.

    Args:
        activate: of the instance.
    """

    def __init__(self, activate: Activate) -> None:
        self._activate = activate
        self._task: tuple[int, int, int] | None = None
        self._events = 0
        self._ahead = False

    def __call__(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """Pass the activation on, or answer that the task must be sent anew."""
        if any(job.HasField("query_workflow") for job in act.jobs) or any(
            job.HasField("remove_from_cache") for job in act.jobs
        ):
            return self._activate(act)
        # Both are of the last WorkflowTaskStarted event; a history without its size is of the
        # time-skipping server, which has no sticky queues to lose.
        task = (act.timestamp.seconds, act.timestamp.nanos, act.history_size_bytes)
        same = task == self._task and act.history_size_bytes > 0
        if self._ahead and not same:
            return _anew(act)
        unbegun = not act.is_replaying and act.history_length > self._events
        self._ahead = same and (self._ahead or unbegun)
        self._task, self._events = task, act.history_length
        return self._activate(act)


def _anew(act: WorkflowActivation) -> WorkflowActivationCompletion:
    answer = WorkflowActivationCompletion(run_id=act.run_id)
    answer.failed.failure.message = AHEAD
    return answer
