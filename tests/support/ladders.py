"""Jobs under ladders of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from temporalio.testing import WorkflowEnvironment

from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.jobs import JobRequest
from qsaga.core.results import JobResult, OptimiseAnswer, Quality
from qsaga.core.states import Rung
from tests.support.stack import Stack, bell, running_stack

LADDERS = {"optimise": ["annealing"], "sample": ["simulator"], "estimate": ["simulator"]}
TWO_BELLS = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\nh q[0];\ncx q[0], q[1];\n'


@asynccontextmanager
async def with_policy(
    env: WorkflowEnvironment,
    emulator: EmulatorProcess,
    folder: Path,
    ladders: dict[str, list[str]],
    terms: str = "",
    **changes: Any,
) -> AsyncIterator[Stack]:
    """qsaga with ladders and terms of its own."""
    emulator.control.reset()
    every = LADDERS | ladders
    lines = [f"{verb} = {rungs}" for verb, rungs in every.items()]
    policy = folder / "policy.toml"
    policy.write_text(
        'version = "test"\nrules = []\n'
        + terms
        + "\n[ladders]\n"
        + "\n".join(lines)
        + '\n[hardware.prices.default]\nper_quantum_second = "1.60"\n'
    )
    async with running_stack(env, emulator, folder, changes={"policy_file": policy} | changes) as s:
        yield s


def estimate(**changes: object) -> JobRequest:
    """Twice ZZ + twice XX of a Bell pair: the standard error of a shot is above one."""
    workload = {
        "kind": "estimate",
        "circuit": {"source": TWO_BELLS},
        "observables": [{"ZI": 2.0, "IX": 2.0}],
        "precision": 0.05,
    }
    return bell(workload=workload, **changes)


def answered(result: JobResult) -> list[tuple[Rung, str]]:
    """The rungs that were tried, and what came of each."""
    return [(attempt.rung, attempt.outcome) for attempt in result.attempts]


def quality(result: JobResult) -> Quality:
    """Of an answer to an optimise job."""
    assert isinstance(result.answer, OptimiseAnswer)
    return result.answer.quality


def files_in(folder: Path) -> list[Path]:
    """All files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]
