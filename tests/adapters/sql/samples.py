"""Jobs to keep, and what several processes do to one database at once."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from multiprocessing.synchronize import Barrier
from typing import Any

from adapters.sql import SqlAuditLog, SqlJobRecords, migrate, open_engine
from qsaga.core.approval import (
    ApprovalDecision,
    ApprovalRecord,
    ApprovalRequest,
    ApprovalTerms,
    Decided,
    Verdict,
)
from qsaga.core.contract import ArtefactRef
from qsaga.core.errors import KeyConflict
from qsaga.core.facts import Decision, Facts
from qsaga.core.jobs import JobRequest, Optimise, Problem
from qsaga.core.lineage import Lineage
from qsaga.core.ports import Charge, LateResult, RemoteState
from qsaga.core.records import AuditEntry, JobOpening
from qsaga.core.results import (
    Attempt,
    CircuitFacts,
    Confidence,
    Cost,
    JobResult,
    LayerTiming,
    OptimiseAnswer,
    Provenance,
    Quality,
    Transition,
    Unanswered,
)
from qsaga.core.states import JobState, Layer, Rung

JOB, HASH, OTHER = "acme/one", "a" * 64, "b" * 64
AT = datetime(2025, 10, 2, 3, 4, 5, 678901, tzinfo=UTC)
EXACT = Decimal("3.200000000000000000001")


def artefact(letter: str) -> ArtefactRef:
    """A reference to a blob that exists nowhere."""
    return ArtefactRef(sha256=letter * 64, size=3, media="text/plain")


LATE = LateResult(
    run_id="run1",
    result=artefact("c"),
    objective=3.0,
    served_objective=4.0,
    difference=-1.0,
    comparison="worse",
)


def opening(job_id: str = JOB, payload: str = HASH, at: datetime = AT) -> JobOpening:
    """All that is known only of the id."""
    return JobOpening(job_id=job_id, payload_hash=payload, at=at)


def full_opening(job_id: str = JOB, at: datetime = AT, **tags: Any) -> JobOpening:
    """A job that was admitted."""
    tenant, _, key = job_id.partition("/")
    request = JobRequest(
        tenant=tenant,
        key=key,
        workload=Optimise(problem=Problem(name="maxcut", data={"edges": [[0, 1]]})),
        **({"template": "nightly", "experiment": "e1", "dataset": "v3"} | tags),
    )
    return JobOpening(
        job_id=job_id, payload_hash=HASH, at=at, submitter="ann", request=request, decision=DECISION
    )


DECISION = Decision(
    policy_version="p1",
    rule="small",
    reason="it fits",
    wanted=Rung.HARDWARE,
    ladder=(Rung.HARDWARE, Rung.ANNEALING),
    facts=Facts(
        verb="optimise", variables=5, qubits=5, shots=100, queue_budget=60, quantum_seconds=5
    ),
)


def result(
    state: JobState = JobState.FAILED, payload: str = HASH, why: str = "", job_id: str = JOB
) -> JobResult:
    """A job that has no answer."""
    tenant, _, key = job_id.partition("/")
    return JobResult(
        job_id=job_id,
        tenant=tenant,
        key=key,
        payload_hash=payload,
        state=state,
        unanswered=Unanswered(reason=why or "no rung answered", layer=Layer.DEADLINE),
        cost=Cost(money=Decimal("0.10"), currency="EUR"),
    )


def full_result(job_id: str = JOB, at: datetime = AT, seconds: float = 90.5) -> JobResult:
    """A degraded job with every part that a result can have."""
    tenant, _, key = job_id.partition("/")
    return JobResult(
        job_id=job_id,
        tenant=tenant,
        key=key,
        payload_hash=HASH,
        state=JobState.DEGRADED,
        answer=OptimiseAnswer(
            solution={"side": [0]},
            explanation="one edge is cut",
            quality=Quality(
                feasible=True, objective=4.0, sense="maximise", confidence=Confidence.FEASIBLE
            ),
        ),
        provenance=Provenance(
            source=Rung.ANNEALING,
            provider="neal",
            backend="here",
            seed=7,
            software={"dimod": "0.12"},
            artefacts={"model": artefact("d")},
            circuit=CircuitFacts(
                backend="ibm_torino",
                calibration_id="cal",
                qubits=5,
                depth=3,
                two_qubit_gates=2,
                layout=(4, 3, 2, 1, 0),
                seed_transpiler=7,
                optimization_level=2,
                sha256="e" * 64,
            ),
        ),
        decision=DECISION,
        attempts=(
            Attempt(
                rung=Rung.HARDWARE,
                outcome="timed_out",
                reason="queue \x00 full",
                layer=Layer.QUEUE,
                run_id="run1",
            ),
            Attempt(rung=Rung.ANNEALING, outcome="answered", objective=4.0),
        ),
        transitions=(
            Transition(state=JobState.RECEIVED, at=at),
            Transition(state=JobState.DEGRADED, at=at + timedelta(seconds=seconds)),
        ),
        timings=(LayerTiming(layer=Layer.QUEUE, seconds=60.0, rung=Rung.HARDWARE),),
        cost=Cost(quantum_seconds=1.0, money=Decimal("1.60"), classical_seconds=5.5),
        submitter="ann",
        approval=_approval(job_id, at),
        lineage=Lineage(
            input_sha256="f" * 64,
            dataset="v3",
            variables=5,
            encoded_bytes=2**40,
            transpiler={"optimization_level": 2},
            calibration=artefact("1"),
            partial={"hardware": artefact("2")},
            machine={"python": "3.11"},
        ),
    )


def _approval(job_id: str, at: datetime) -> ApprovalRecord:
    def decided(by: str, verdict: Verdict, refused: str = "", **budget: Any) -> Decided:
        return Decided(
            decision=ApprovalDecision(verdict=verdict, by=by, why="seen", **budget),
            by=by,
            at=at + timedelta(seconds=5),
            refused=refused,
        )

    return ApprovalRecord(
        request=ApprovalRequest(
            job_id=job_id,
            tenant="acme",
            submitter="ann",
            terms=ApprovalTerms(rule="dear", because="above 1 USD", four_eyes=True),
            asked=at,
            expires=at + timedelta(days=1),
            plan="run it",
        ),
        outcome="approved",
        decided=(
            decided("ann", Verdict.APPROVE, "four eyes"),
            decided("bob", Verdict.APPROVE, money=Decimal("0.3")),
        ),
    )


def charge(number: int, seconds: float = 2.0, *, settled: bool = True) -> Charge:
    """Remote job number ``number``."""
    return Charge(
        provider="ibm",
        provider_job_id=f"d{number}",
        backend="ibm_torino",
        state=RemoteState.COMPLETED,
        role="run" if number == 0 else "extra",
        cost=Cost(
            quantum_seconds=seconds,
            money=EXACT,
            currency="EUR",
            classical_seconds=0.5,
            settled=settled,
        ),
    )


def entry(id: str, **given: Any) -> AuditEntry:
    """Something that somebody did."""
    return AuditEntry.model_validate(
        {"id": id, "at": AT, "who": "ann", "verified": True, "action": "start"} | given
    )


def in_processes(work: Callable[[Any], Any], tasks: Sequence[Any], processes: int) -> list[Any]:
    """What the processes return. Each starts from nothing; they begin to work together."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(processes, timeout=50)
    with ProcessPoolExecutor(
        processes, context, initializer=_wait_for_the_others, initargs=(start,)
    ) as executor:
        return list(executor.map(work, tasks))


def _wait_for_the_others(start: Barrier) -> None:
    """Ours, so that this module is loaded before the waiting."""
    start.wait()


def migrate_in_process(url: str) -> None:
    """One of several that find an empty database."""
    asyncio.run(migrate(url))


def contend(task: tuple[str, int]) -> str:
    """All writes of one contender for the same job."""
    return asyncio.run(_contend(*task))


async def _contend(url: str, number: int) -> str:
    engine = open_engine(url)
    records = SqlJobRecords(engine)
    mine = HASH if number % 2 else OTHER
    try:
        await records.open(opening(payload=mine))
        for turn in range(5):
            await records.open_run(JOB, f"run{turn}")
            await records.settle_run(JOB, f"run{turn}", (charge(turn, float(number)),), None)
            await records.get(JOB)
        await records.close(full_result().model_copy(update={"payload_hash": mine}))
    except KeyConflict:
        return "conflict"
    finally:
        await engine.dispose()
    return mine


def note_ten(task: tuple[str, int]) -> None:
    """Ten entries of our own, and one that everybody writes."""
    asyncio.run(_note_ten(*task))


async def _note_ten(url: str, number: int) -> None:
    engine = open_engine(url)
    log = SqlAuditLog(engine)
    for turn in range(10):
        await log.note(entry(f"{number}-{turn}"))
        await log.note(entry("everybody"))
    await engine.dispose()


def die_while_closing(url: str) -> None:
    """Close a job and be killed when half of it is written."""
    import os
    import signal

    from sqlalchemy import event

    async def close() -> None:
        records = SqlJobRecords(open_engine(url))

        @event.listens_for(records._writer._direct, "after_cursor_execute")
        def _die(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            if "INTO attempts" in statement:
                os.kill(os.getpid(), signal.SIGKILL)

        await records.close(full_result())

    asyncio.run(close())
