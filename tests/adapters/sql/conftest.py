"""Every test here runs on each database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql import open_engine
from tests.support.databases import BACKENDS, fresh_database


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A new database; an empty one, unless the test asks for ``engine``."""
    at_head = "engine" in request.fixturenames
    with fresh_database(request.param, tmp_path, at_head=at_head) as url:
        yield url


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """A database at head."""
    made = open_engine(database_url)
    yield made
    await made.dispose()
