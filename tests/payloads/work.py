"""A client and a worker for the workflows of ``flows``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from qsaga.payloads import data_converter, header_codec
from qsaga.settings import Settings
from tests.payloads.flows import Failing, Large, five_megabytes


def client_of(env: WorkflowEnvironment, settings: Settings) -> Client:
    config = env.client.config()
    config["data_converter"] = data_converter(settings)
    config["header_codec_behavior"] = header_codec(settings)
    return Client(**config)


@asynccontextmanager
async def at_work(client: Client) -> AsyncIterator[str]:
    """A worker; its task queue."""
    queue = f"large-{uuid4().hex[:8]}"
    async with Worker(
        client,
        task_queue=queue,
        workflows=[Large, Failing],
        activities=[five_megabytes],
        build_id="test",
    ):
        yield queue
