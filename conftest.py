"""The longest test files come first, so that at the end no process works long while others wait."""

from __future__ import annotations

import atexit
import gc
from contextlib import ExitStack

import pytest

from tests.support.leftovers import end_leftovers
from tests.support.simulators import shared_simulators

LONGEST = (
    "tests/chaos/test_matrix.py",
    "tests/scenarios/test_demo.py",
    "tests/workflows/test_money_races.py",
    "tests/workflows/test_loops.py",
    "tests/workflows/test_loops_asked.py",
    "tests/scenarios/test_loop_killed.py",
    "tests/workflows/test_races.py",
    "tests/workflows/test_stories.py",
    "tests/workflows/test_ways_out.py",
    "tests/workflows/test_duplicates.py",
    "tests/roles/test_drain.py",
    "tests/roles/test_processes.py",
    "tests/setup/test_compose_runs.py",
    "tests/workflows/test_people_races.py",
    "tests/workflows/test_approvals.py",
    "tests/workflows/test_submissions.py",
    "tests/workflows/test_layers.py",
    "tests/roles/test_rollout.py",
    "tests/chaos/test_provider.py",
    "tests/cli/test_people.py",
)
"""Half a minute each or more; to be looked over now and then with ``--durations=60``."""


def pytest_configure(config: pytest.Config) -> None:
    """One for all processes of pytest-xdist, which inherit where it is."""
    if not hasattr(config, "workerinput") and not config.option.collectonly:
        # The first to be registered is the last to be done: libraries end servers at exit, too.
        atexit.register(end_leftovers())
        simulators = ExitStack()
        config.add_cleanup(simulators.close)
        simulators.enter_context(shared_simulators())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort, and keep the order of all others. Raises UsageError for a file that is not there."""
    if gone := [name for name in LONGEST if not (config.rootpath / name).exists()]:
        raise pytest.UsageError(f"conftest.py names files that are not there: {', '.join(gone)}")
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(LONGEST)))


def pytest_collection_finish() -> None:
    """What is loaded by now stays: to collect garbage among it costs a twentieth of the time."""
    gc.collect()
    gc.freeze()
