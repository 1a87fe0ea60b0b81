"""Which role of worker does which step, and on which task queue it waits for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from qsaga.core.gate import GateStep
from qsaga.core.oversight import WatchStep
from qsaga.core.remote_steps import CancelStep, CollectStep, FollowStep, SettleStep, SubmitStep
from qsaga.core.rung_steps import ExactStep, LearnedStep
from qsaga.core.sessions import CloseStep as CloseSessionStep
from qsaga.core.sessions import JoinStep, LookStep, OpenStep
from qsaga.core.steps import CompileStep, EncodeStep, SimulateStep, SolveStep, VerifyStep


class WorkerRole(StrEnum):
    """What a worker is for.

    ``workflow`` runs workflows and their local activities. ``provider`` talks to the provider; it
    also takes the steps that no role has for itself, such as ``admit`` and ``operate``.
    """

    WORKFLOW = "workflow"
    PROVIDER = "provider"
    COMPILE = "compile"
    SOLVE = "solve"
    WATCH = "watch"


ALL_ROLES = tuple(WorkerRole)

ROLE_OF: Mapping[Callable[..., Any], WorkerRole] = {
    SubmitStep.submit: WorkerRole.PROVIDER,
    FollowStep.follow: WorkerRole.PROVIDER,
    CollectStep.collect: WorkerRole.PROVIDER,
    CancelStep.cancel_remote: WorkerRole.PROVIDER,
    SettleStep.settle: WorkerRole.PROVIDER,
    JoinStep.join: WorkerRole.PROVIDER,
    OpenStep.open: WorkerRole.PROVIDER,
    LookStep.look: WorkerRole.PROVIDER,
    CloseSessionStep.close: WorkerRole.PROVIDER,
    EncodeStep.encode: WorkerRole.COMPILE,
    CompileStep.compile: WorkerRole.COMPILE,
    SolveStep.solve: WorkerRole.SOLVE,
    SimulateStep.simulate: WorkerRole.SOLVE,
    VerifyStep.verify: WorkerRole.SOLVE,
    ExactStep.exact: WorkerRole.SOLVE,
    GateStep.gate: WorkerRole.SOLVE,
    LearnedStep.learned: WorkerRole.SOLVE,
    WatchStep.watch: WorkerRole.WATCH,
}
"""Steps that go to a queue of their role. All others stay on the workflow's own queue."""

Queues = Mapping[str, str]
"""Role to task queue; empty where there is one queue for all."""


def role_queues(task_queue: str) -> dict[str, str]:
    """The queues of a deployment whose roles have queues of their own."""
    return {
        role.value: f"{task_queue}-{role}" for role in ALL_ROLES if role is not WorkerRole.WORKFLOW
    }


def queue_of(step: Callable[..., Any], queues: Queues) -> str | None:
    """Where a step waits for its worker; None is the workflow's own queue."""
    role = ROLE_OF.get(step)
    return queues.get(role) if role is not None else None
