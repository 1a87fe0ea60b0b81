"""Fixtures that several folders use: the real servers, started once for each test process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from ibm_quantum_emulator.process import EmulatorProcess
from tools.servers import resolve
from tools.stage import DYNAMIC_CONFIG


@pytest.fixture(scope="session")
def emulator() -> Iterator[EmulatorProcess]:
    """An emulator on its own clock, whose jobs take a fifth of a second: tests wait for them."""
    with EmulatorProcess(noise="none", overhead_seconds=0.2) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def dev_env() -> AsyncIterator[WorkflowEnvironment]:
    """The dev server."""
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(resolve().cli),
        dev_server_extra_args=[
            part for value in DYNAMIC_CONFIG for part in ("--dynamic-config-value", value)
        ],
    ) as env:
        yield env
