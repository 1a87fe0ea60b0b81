"""Real servers, started once for all tests of the primitives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from qsaga.primitives.naming import ORDINALS
from qsaga.settings import Settings
from tools.stage import Stage


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    emulator = {"overhead_seconds": 0.1, "seconds_per_job": 0.1, "noise": "none"}
    with Stage(tmp_path_factory.mktemp("stage"), ui=False, emulator=emulator) as stage:
        stage.start_worker()
        yield stage


@pytest.fixture(scope="session")
def there(stage: Stage) -> Settings:
    """Settings of a client."""
    return stage.settings()


@pytest.fixture
def held(stage: Stage) -> Iterator[Stage]:
    """A minute of jobs ahead in the queue, until the test says otherwise or ends.

    A queue of hours would be looked at every five minutes only.
    """
    stage.emulator.control.set_queue(3, 20.0)
    yield stage
    stage.emulator.control.set_queue(0, 0.1)


@pytest.fixture
def another_process() -> Iterator[None]:
    """What this process has asked for before is unknown, as in a new one."""
    ORDINALS.rewind("")
    yield
    ORDINALS.rewind("")
