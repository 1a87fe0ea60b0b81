"""Workers have no sandbox: what workflows may import and call is checked here, and by ruff."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.setup.clones import ROOT
from tests.setup.test_core_is_pure import banned_builtins, ruff

WORKFLOWS = ROOT / "workflows"
ALLOWED = frozenset(
    {
        "__future__",
        "abc",
        "asyncio",  # its loop is Temporal's own
        "collections.abc",
        "contextlib",
        "dataclasses",
        "datetime",  # but for its clocks: workflows/ruff.toml
        "decimal",
        "functools",
        "inspect",
        "pydantic",
        "temporalio",
        "temporalio.common",
        "temporalio.exceptions",
        "typing",
    }
)
OURS = ("qsaga.core", "workflows")
INTERCEPTORS = "identified.py"
"""What a worker calls round its workflows; it may know of the worker."""
OF_INTERCEPTORS = {
    "contextvars",
    "temporalio.api.common.v1",
    "temporalio.converter",
    "temporalio.worker",
}


def strangers(source: str) -> list[str]:
    """Modules that a workflow must not import."""
    return [
        name
        for name in imported(source)
        if name not in ALLOWED and not f"{name}.".startswith(tuple(f"{room}." for room in OURS))
    ]


def imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


def test_workflows_import_nothing_that_differs_between_runs() -> None:
    found = {path.name: {*strangers(path.read_text())} for path in WORKFLOWS.glob("*.py")}
    found[INTERCEPTORS] -= OF_INTERCEPTORS
    assert {name: modules for name, modules in found.items() if modules} == {}


@pytest.mark.parametrize(
    "planted",
    ["import time", "from random import random", "import os.path", "from uuid import uuid4"],
)
def test_a_planted_import_is_found(planted: str) -> None:
    assert len(strangers(f"import asyncio\n\ndef f():\n    {planted}\n")) == 1


def test_workflows_call_no_builtin_that_differs_between_runs() -> None:
    found = {path.name: banned_builtins(path.read_text()) for path in WORKFLOWS.glob("*.py")}
    # There it is the SDK's name of a parameter.
    found[INTERCEPTORS] = [used for used in found[INTERCEPTORS] if not used.endswith(": input")]
    assert {name: used for name, used in found.items() if used} == {}


@pytest.mark.parametrize("clock", ["datetime.now(UTC)", "datetime.utcnow()", "date.today()"])
def test_a_planted_clock_is_caught(tmp_path: Path, clock: str) -> None:
    room = tmp_path / "workflows"
    room.mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(WORKFLOWS / "ruff.toml", room)
    planted = room / "planted.py"
    planted.write_text(f"from datetime import UTC, date, datetime\n\nNOW = {clock}\n")
    assert "TID251" in ruff(room, "--output-format", "concise").stdout
    planted.write_text("from temporalio import workflow\n\nNOW = workflow.now()\n")
    assert "TID251" not in ruff(room, "--output-format", "concise").stdout


def test_workflows_keep_the_ban_without_exceptions() -> None:
    done = ruff(WORKFLOWS, "--select", "TID251", "--ignore-noqa")
    assert done.returncode == 0, done.stdout
