"""Writing a job or a loop down from what Temporal holds of it."""

from __future__ import annotations

from qsaga.core.archive import HeldJob, HeldLoop
from qsaga.core.contract import ArtefactRef
from qsaga.core.ledger import Amounts, Ledger, hold_key
from qsaga.core.loop_records import LoopOpening, LoopRecords
from qsaga.core.records import JobOpening, JobRecords


async def restore(job: HeldJob, records: JobRecords, ledger: Ledger) -> None:
    """Its row, and if it has ended the closing record and its own account; what is there stands.

    Raises:
        KeyConflict: the row is of another payload, or its content was deleted on request.
    """
    result = job.result
    opening = JobOpening(
        job_id=job.job_id,
        payload_hash=job.request.payload_hash(),
        at=job.began,
        submitter=result.submitter if result else job.request.requested_by,
        request=job.request,
        decision=result.decision if result else None,
    )
    if result is None:
        await records.open(opening)
        return
    refs: tuple[ArtefactRef, ...] = ()
    if result.provenance is not None:
        refs = tuple(result.provenance.artefacts.values())
    await records.close(result, refs, opening)
    await ledger.settle(
        hold_key(job.job_id, job.account),
        Amounts.classical(result.cost),
        result.transitions[-1].at,
        tenant=result.tenant,
        job_id=job.job_id,
        currency=result.cost.currency,
    )


async def restore_loop(loop: HeldLoop, loops: LoopRecords) -> None:
    """Its row, and how it ended if it has; what is there stands.

    Raises:
        KeyConflict: the row is of another payload, or its content was deleted on request.
    """
    await loops.open(
        LoopOpening(
            loop_id=loop.loop_id,
            tenant=loop.request.tenant,
            payload_hash=loop.request.payload_hash(),
            at=loop.began,
        )
    )
    if loop.result is not None:
        await loops.close(loop.result)
