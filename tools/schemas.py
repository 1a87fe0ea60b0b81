"""Writes schemas/: the JSON Schema of every message that others may read or write."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter

from qsaga.core.approval import ApprovalDecision, ApprovalRecord
from qsaga.core.facts import Decision
from qsaga.core.jobs import JobRequest
from qsaga.core.loops import LoopRequest, LoopResult, LoopStatus
from qsaga.core.operations import OperationInput, OperationReport
from qsaga.core.policy import Policy, PriceList
from qsaga.core.records import JobRecord, Notice
from qsaga.core.results import JobResult, JobStatus
from qsaga.core.runs import JobAccount, RunReport, RunStatus
from qsaga.problems.registry import get, names

FOLDER = Path(__file__).parent.parent / "schemas"

CONTRACTS = (
    JobRequest,
    JobResult,
    JobStatus,
    Decision,
    Policy,
    RunReport,
    RunStatus,
    JobAccount,
    JobRecord,
    ApprovalDecision,
    ApprovalRecord,
    OperationInput,
    OperationReport,
    Notice,
    PriceList,
    LoopRequest,
    LoopResult,
    LoopStatus,
)


def schemas() -> dict[str, str]:
    """File name to text."""
    found = {f"{kind.__name__}.json": TypeAdapter(kind).json_schema() for kind in CONTRACTS}
    for name in names():
        found[f"problem.{name}.json"] = TypeAdapter(get(name).model).json_schema()
    return {
        name: json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for name, schema in found.items()
    }


def main() -> None:
    """Write them; remove what is no contract any more."""
    FOLDER.mkdir(exist_ok=True)
    wanted = schemas()
    for stale in set(FOLDER.glob("*.json")) - {FOLDER / name for name in wanted}:
        stale.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
