"""Real servers, started once for each test process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from ibm_quantum_emulator.process import EmulatorProcess
from tests.support.clock_bridge import ClockBridge
from tests.support.servers import dev_env, emulator
from tests.support.stack import Stack, running_stack
from tools.servers import resolve

__all__ = ["dev_env", "emulator"]


@pytest_asyncio.fixture(loop_scope="session")
async def skipping_env() -> AsyncIterator[WorkflowEnvironment]:
    """A time-skipping server for each test.

    An activity that times out or is cancelled while it runs stops such a server's clock for
    good, so one test could make all later ones hang.
    """
    async with await _started() as env:
        yield env


async def _started(tries: int = 3) -> WorkflowEnvironment:
    # The SDK gives the server five seconds, which a busy machine may not have.
    for _ in range(tries - 1):
        with suppress(RuntimeError):
            return await WorkflowEnvironment.start_time_skipping(
                test_server_existing_path=str(resolve().test_server)
            )
    return await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(resolve().test_server)
    )


@pytest.fixture(scope="session")
def bridge() -> Iterator[ClockBridge]:
    """Where the emulator asks for the time."""
    running = ClockBridge()
    yield running
    running.close()


@pytest.fixture(scope="session")
def following_emulator(bridge: ClockBridge) -> Iterator[EmulatorProcess]:
    """An emulator on the time-skipping server's clock."""
    with EmulatorProcess(noise="none", clock_url=bridge.url) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def skipping(
    skipping_env: WorkflowEnvironment,
    bridge: ClockBridge,
    following_emulator: EmulatorProcess,
    tmp_path: Path,
) -> AsyncIterator[Stack]:
    """qsaga on the time-skipping server, without any jobs."""
    await asyncio.to_thread(bridge.follow, skipping_env.client.service_client.config.target_host)
    await asyncio.to_thread(following_emulator.control.reset)
    async with running_stack(skipping_env, following_emulator, tmp_path) as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def dev(
    dev_env: WorkflowEnvironment, emulator: EmulatorProcess, tmp_path: Path
) -> AsyncIterator[Stack]:
    """qsaga on the dev server, without any jobs."""
    await asyncio.to_thread(emulator.control.reset)
    async with running_stack(dev_env, emulator, tmp_path) as stack:
        yield stack
