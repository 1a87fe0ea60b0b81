"""Workers of Temporal: which queues a process serves, how much at a time, as which version."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from importlib.metadata import version
from typing import Any

from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import (
    FixedSizeSlotSupplier,
    ResourceBasedSlotConfig,
    ResourceBasedSlotSupplier,
    ResourceBasedTunerConfig,
    Worker,
    WorkerDeploymentConfig,
    WorkerTuner,
)

from composition.one_task import OneTaskAtATime
from composition.parts import Parts
from qsaga.core.roles import ALL_ROLES, WorkerRole
from qsaga.settings import Settings, SlotSettings
from workflows.registered import VERSIONED_WORKFLOWS, WORKFLOWS

BUILD_ID = "qsaga-" + version("qsaga")
SLOTS = 100
"""Of each kind, where nothing else is said: Temporal's own default."""
COMPUTING = frozenset({WorkerRole.COMPILE, WorkerRole.SOLVE})


def workflow_runner() -> OneTaskAtATime:
    """Of all workers; without the sandbox: docs/decisions/0023."""
    return OneTaskAtATime()


def deployment_version(settings: Settings) -> WorkerDeploymentVersion:
    """What Temporal calls this version of the workers."""
    return WorkerDeploymentVersion(
        deployment_name=f"qsaga-{settings.deployment}",
        build_id=settings.temporal.build_id or BUILD_ID,
    )


def workers(client: Client, settings: Settings, parts: Parts) -> list[Worker]:
    """All workers of a process: one, or one for each queue that its roles serve."""
    queue, queues = settings.temporal.task_queue, settings.temporal.queues
    everything = parts.roles == frozenset(ALL_ROLES)
    desk, local = parts.desk, parts.steps.get(WorkerRole.WORKFLOW, ())
    workflows = VERSIONED_WORKFLOWS if settings.temporal.versioning else WORKFLOWS
    found = []
    # Beside the queues of their own, workers of every role serve jobs that were begun without.
    own = parts.activities if everything else tuple(dict.fromkeys((*local, *desk)))
    if own:
        found.append(
            _worker(
                client,
                settings,
                parts,
                queue,
                own,
                workflows if WorkerRole.WORKFLOW in parts.roles else (),
                local_only=not desk,
            )
        )
    for role, steps in parts.steps.items():
        if role in queues and steps:
            found.append(_worker(client, settings, parts, queues[role], steps, role=role))
    return found


def worker(client: Client, settings: Settings, parts: Parts) -> Worker:
    """The worker of a process that has one queue."""
    (only,) = workers(client, settings, parts)
    return only


def _worker(
    client: Client,
    settings: Settings,
    parts: Parts,
    queue: str,
    activities: Sequence[Callable[..., Any]],
    workflows: Sequence[type] = (),
    *,
    role: WorkerRole | None = None,
    local_only: bool = False,
) -> Worker:
    temporal = settings.temporal
    return Worker(
        client,
        task_queue=queue,
        workflows=workflows,
        activities=activities,
        no_remote_activities=local_only,
        interceptors=parts.interceptors,
        # Named in any case: else the worker hashes every loaded module, which takes seconds.
        deployment_config=WorkerDeploymentConfig(
            version=deployment_version(settings),
            use_worker_versioning=temporal.versioning,
            default_versioning_behavior=(
                VersioningBehavior.PINNED if temporal.versioning else VersioningBehavior.UNSPECIFIED
            ),
        ),
        workflow_runner=workflow_runner(),
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=temporal.sticky_timeout),
        graceful_shutdown_timeout=timedelta(seconds=settings.drain),
        tuner=tuner(settings.slots, role),
    )


def tuner(slots: SlotSettings, role: WorkerRole | None) -> WorkerTuner:
    """How many tasks at a time; None is the workflow's own queue."""
    most = places(slots, role)
    activities: FixedSizeSlotSupplier | ResourceBasedSlotSupplier = FixedSizeSlotSupplier(most)
    if slots.tuned and role in COMPUTING:
        activities = ResourceBasedSlotSupplier(
            # One at least: a machine that others keep busy must not stop the role for good.
            ResourceBasedSlotConfig(minimum_slots=1, maximum_slots=most),
            ResourceBasedTunerConfig(
                target_memory_usage=slots.target_memory, target_cpu_usage=slots.target_cpu
            ),
        )
    fixed = FixedSizeSlotSupplier(SLOTS)
    return WorkerTuner.create_composite(
        workflow_supplier=fixed,
        activity_supplier=activities,
        local_activity_supplier=fixed,
        nexus_supplier=fixed,
    )


def places(slots: SlotSettings, role: WorkerRole | None) -> int:
    """The most activities of a queue at a time."""
    match role:
        case WorkerRole.PROVIDER:
            return slots.provider
        case WorkerRole.COMPILE:
            return slots.compile or cores()
        case WorkerRole.SOLVE:
            return slots.solve or cores()
        case WorkerRole.WATCH:
            return slots.watch
        case _:
            return SLOTS


def threads(settings: Settings, parts: Parts) -> int:
    """Enough for every activity of the process: none waits for a thread that another holds."""
    roles = [None, *(role for role in parts.steps if role in settings.temporal.queues)]
    return SLOTS + sum(places(settings.slots, role) for role in roles)


def cores() -> int:
    """That this process may use. A limit of CPU time, as containers have, does not show here."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
