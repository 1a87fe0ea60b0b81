"""Pytest fixtures: a running emulator, fresh for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .process import EmulatorProcess


@pytest.fixture(scope="session")
def ibm_emulator_options() -> dict[str, object]:
    """Options of the emulator process; override this fixture to change them."""
    return {"noise": "none"}


@pytest.fixture(scope="session")
def ibm_emulator_process(ibm_emulator_options: dict[str, object]) -> Iterator[EmulatorProcess]:
    """One emulator for the whole test session."""
    with EmulatorProcess(**ibm_emulator_options) as emulator:  # type: ignore[arg-type]
        yield emulator


@pytest.fixture
def ibm_emulator(ibm_emulator_process: EmulatorProcess) -> EmulatorProcess:
    """The session's emulator without any jobs and with its start-up settings."""
    ibm_emulator_process.control.reset()
    return ibm_emulator_process
