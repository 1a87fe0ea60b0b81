"""Which version of the workers gets new jobs: the first one says so itself."""

from __future__ import annotations

import asyncio
import logging

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
"""Seconds between two looks."""
UNHEARD_OF = 30
"""Looks after which a server that knows nothing of this version is not asked any more."""
RACED = (
    RPCStatusCode.FAILED_PRECONDITION,
    RPCStatusCode.ABORTED,
    RPCStatusCode.ALREADY_EXISTS,
)


async def become_current_if_first(client: Client, own: WorkerDeploymentVersion) -> bool:
    """Make a version current where its deployment has none yet; nobody would get work else.

    A version that is there already stays: who takes its place is for whoever rolls out.

    Returns:
        Whether this call made it current.
    """
    log = logging.getLogger("qsaga")
    waits = "the server does not know it"
    for _ in range(UNHEARD_OF):
        found = await _described(client, own.deployment_name)
        if found is not None:
            info = found.worker_deployment_info
            current = info.routing_config.current_deployment_version.build_id
            if current == own.build_id:
                return False
            known = {one.deployment_version.build_id for one in info.version_summaries}
            if current and own.build_id in known:
                waits = await _lacking(client, own, current)
                if not waits:
                    log.info("version %s waits to be made current; %s is", own.build_id, current)
                    return False
            elif own.build_id in known and await _made(client, own, found.conflict_token):
                log.info("version %s is the first of %s", own.build_id, own.deployment_name)
                return True
        # The server learns of a version when its first worker asks for work.
        await asyncio.sleep(AGAIN)
    log.warning("version %s is not current: %s", own.build_id, waits)
    return False


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
