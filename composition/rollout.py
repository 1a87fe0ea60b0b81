"""Which version of the workers gets new jobs: the first one says so itself."""

from __future__ import annotations

import asyncio
import logging
from itertools import count

from temporalio.api.deployment.v1 import WorkerDeploymentVersion as DeploymentVersion
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    DescribeWorkerDeploymentResponse,
    DescribeWorkerDeploymentVersionRequest,
    SetWorkerDeploymentCurrentVersionRequest,
)
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode

AGAIN = 0.5
"""Seconds between two looks, to begin with."""
UNHEARD_OF = 30
"""Looks after which it is said what lacks, and looks are made more seldom."""
SELDOM = 10
"""So many times as seldom."""
RACED = (
    RPCStatusCode.FAILED_PRECONDITION,
    RPCStatusCode.ABORTED,
    RPCStatusCode.ALREADY_EXISTS,
)


async def become_current_if_first(
    client: Client, own: WorkerDeploymentVersion, pause: float = AGAIN
) -> bool:
    """Make a version current where its deployment has none yet; nobody would get work else.

    A version that is there already stays: who takes its place is for whoever rolls out. This ends
    when one of the two is seen to be so, however long the server is away or slow to learn of the
    workers: a deployment without a current version would do no work, without an error anywhere.

    Args:
        pause: seconds between the first ``UNHEARD_OF`` looks.

    Returns:
        Whether this call made it current.
    """
    log = logging.getLogger("qsaga")
    for look in count(1):
        try:
            made, lacks = await _look(client, own)
        except RPCError as error:
            # The server is away, or does not find for a moment what it found before.
            made, lacks = None, f"the server says {error.status.name}: {error.message}"
        if made is not None:
            return made
        if look == UNHEARD_OF:
            log.warning("version %s is not current yet: %s", own.build_id, lacks)
        await asyncio.sleep(pause if look < UNHEARD_OF else pause * SELDOM)
    raise AssertionError("there is always another look")


async def _look(client: Client, own: WorkerDeploymentVersion) -> tuple[bool | None, str]:
    """Whether this look made the version current, None as long as that is open; what it lacks."""
    # The server learns of a version when its first worker asks for work.
    unknown = None, "the server does not know it"
    log = logging.getLogger("qsaga")
    found = await _described(client, own.deployment_name)
    if found is None:
        return unknown
    info = found.worker_deployment_info
    current = info.routing_config.current_deployment_version.build_id
    if current == own.build_id:
        return False, ""
    if own.build_id not in {one.deployment_version.build_id for one in info.version_summaries}:
        return unknown
    if current:
        if lacks := await _lacking(client, own, current):
            return None, lacks
        log.info("version %s waits to be made current; %s is", own.build_id, current)
        return False, ""
    if await _made(client, own, found.conflict_token):
        log.info("version %s is the first of %s", own.build_id, own.deployment_name)
        return True, ""
    return None, "another worker was quicker, or its version is not ready"


async def _lacking(client: Client, own: WorkerDeploymentVersion, current: str) -> str:
    """What keeps a version from taking over; empty: the server would make it current."""
    has = await _task_queues(client, own)
    wanted = await _task_queues(client, WorkerDeploymentVersion(own.deployment_name, current))
    lacking = sorted({name for name, _ in wanted - has})
    return f"no worker of it has asked for work of {', '.join(lacking)} yet" if lacking else ""


async def _task_queues(client: Client, of: WorkerDeploymentVersion) -> set[tuple[str, int]]:
    """Task queues by name and kind from which workers of a version took work."""
    found = await client.workflow_service.describe_worker_deployment_version(
        DescribeWorkerDeploymentVersionRequest(
            namespace=client.namespace,
            deployment_version=DeploymentVersion(
                deployment_name=of.deployment_name, build_id=of.build_id
            ),
        )
    )
    return {(queue.name, queue.type) for queue in found.version_task_queues}


async def _described(client: Client, deployment: str) -> DescribeWorkerDeploymentResponse | None:
    try:
        return await client.workflow_service.describe_worker_deployment(
            DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=deployment)
        )
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise


async def _made(client: Client, own: WorkerDeploymentVersion, token: bytes) -> bool:
    try:
        await client.workflow_service.set_worker_deployment_current_version(
            SetWorkerDeploymentCurrentVersionRequest(
                namespace=client.namespace,
                deployment_name=own.deployment_name,
                build_id=own.build_id,
                # Of what was seen: if another version became current since, this is refused.
                conflict_token=token,
                identity=client.identity,
            )
        )
    except RPCError as error:
        if error.status in RACED:
            return False
        raise
    return True
