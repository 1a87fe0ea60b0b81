"""Temporal Schedules that ask for a deployment's regular operations, and their proof of that."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from qsaga.core.contract import canonical_json
from qsaga.core.errors import Forbidden
from qsaga.core.identity import EVERY_TENANT, Caller, Role
from qsaga.core.operations import OPERATION, Operation, OperationInput, schedule_id
from qsaga.core.oversight import OperateInput
from qsaga.core.seals import SealKeys, about_schedule

CATCH_UP = timedelta(minutes=1)
"""What was due while Temporal was down is not done later: the next one does the same."""
LONGEST = timedelta(hours=2)
"""An operation that no worker has taken up for so long makes room for the next one."""
LOOKS, PAUSE = 20, 0.25
"""How often, and seconds apart, a schedule is asked for a workflow that it has just started."""

log = logging.getLogger("qsaga.schedules")


@dataclass(frozen=True)
class Regular:
    """An operation to ask for every so many seconds, up to ``jitter`` later; 0 is never."""

    operation: Operation
    every: float
    jitter: float = 0.0


class Schedules:
    """The schedules of one deployment.

    A schedule has no token to show. What it asks for bears a seal over its own id and the whole
    operation, made by a worker: with a copy of it nobody can ask for anything else. And the
    schedule is asked whether it has started the workflow, so that a copy is of no use elsewhere.

    Args:
        deployment: its name.
        queue: task queue of its workflows.
        seals: its secrets; without them callers need not prove anything.
    """

    def __init__(self, deployment: str, queue: str, seals: SealKeys | None) -> None:
        self._deployment, self._queue, self._seals = deployment, queue, seals

    def name(self, operation: Operation) -> str:
        """Id of the schedule that asks for such an operation."""
        return schedule_id(self._deployment, operation.kind)

    async def ensure(self, client: Client, regular: tuple[Regular, ...]) -> None:
        """Have what is to be done regularly done so; safe to repeat, by many workers at once.

        Never raises an error of the server: a worker can do its work without.
        """
        for wanted in regular:
            name = self.name(wanted.operation)
            try:
                if wanted.every > 0:
                    await self._put(client, name, wanted)
                else:
                    await self._drop(client, name)
            except RPCError as error:
                if error.status is RPCStatusCode.UNIMPLEMENTED:
                    log.info("this Temporal server has no schedules: %s is up to you", name)
                    return
                log.error(
                    "schedule %s could not be set up: %s; until it is, give `qsaga %s` to cron",
                    name,
                    error.message,
                    wanted.operation.kind,
                )

    async def _put(self, client: Client, name: str, wanted: Regular) -> None:
        schedule = self._schedule(name, wanted)
        try:
            await client.create_schedule(name, schedule)
        except ScheduleAlreadyRunningError:
            await client.get_schedule_handle(name).update(lambda known: _updated(known, schedule))
        log.info("schedule %s: every %g s", name, wanted.every)

    async def _drop(self, client: Client, name: str) -> None:
        try:
            await client.get_schedule_handle(name).delete()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        else:
            log.info("schedule %s: deleted, as the settings say", name)

    def _schedule(self, name: str, wanted: Regular) -> Schedule:
        every = timedelta(seconds=wanted.every)
        # Elsewhere in the interval for each deployment: not all at the full hour.
        share = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 0x100000000
        given = OperationInput(
            operation=wanted.operation, by=name, seal=self._seal(wanted.operation)
        )
        return Schedule(
            action=ScheduleActionStartWorkflow(
                OPERATION, given, id=name, task_queue=self._queue, execution_timeout=LONGEST
            ),
            spec=ScheduleSpec(
                intervals=[
                    ScheduleIntervalSpec(
                        every=every, offset=timedelta(seconds=int(share * wanted.every))
                    )
                ],
                jitter=timedelta(seconds=wanted.jitter) if wanted.jitter else None,
            ),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=CATCH_UP),
        )

    def _about(self, operation: Operation) -> tuple[str, ...]:
        text = canonical_json(operation.model_dump(mode="json"))
        return about_schedule(self.name(operation), text)

    def _seal(self, operation: Operation) -> str:
        return self._seals.seal(self._about(operation)) if self._seals else ""

    async def caller(self, given: OperateInput) -> Caller:
        """Who asks for an operation that bears a seal.

        Raises:
            Forbidden: it is none of ours, or the schedule has not started this workflow.
        """
        name = self.name(given.operation)
        if self._seals is None or not self._seals.holds(given.seal, self._about(given.operation)):
            raise Forbidden(f"seal: not that of schedule {name!r} of this deployment")
        if not await self._started(name):
            raise Forbidden(f"seal: schedule {name!r} has not started this workflow")
        # No token's subject begins so.
        return Caller(subject=f"/{name}", tenants=(EVERY_TENANT,), roles=(Role.OPERATOR,))

    async def _started(self, name: str) -> bool:
        """Whether the schedule says so; it may be a moment late with it."""
        info, handle = activity.info(), activity.client().get_schedule_handle(name)
        run = (info.workflow_id, info.workflow_run_id)
        for _ in range(LOOKS):
            try:
                said = (await handle.describe()).info
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    return False
                raise
            actions = (*said.running_actions, *(recent.action for recent in said.recent_actions))
            if run in {
                (action.workflow_id, action.first_execution_run_id)
                for action in actions
                if isinstance(action, ScheduleActionExecutionStartWorkflow)
            }:
                return True
            await asyncio.sleep(PAUSE)
        return False


def _updated(known: ScheduleUpdateInput, wanted: Schedule) -> ScheduleUpdate:
    # Whoever has paused it has paused it.
    wanted.state = known.description.schedule.state
    return ScheduleUpdate(schedule=wanted)
