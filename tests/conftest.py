"""What all tests share."""

from __future__ import annotations

import pytest

FIRST = ("tests/scenarios/", "tests/workflows/", "tests/setup/")
"""Folders of the files that take longest: begun last, they would leave one process idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))
