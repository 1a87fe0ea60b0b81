"""What is told to whoever closes the account of a run."""

from __future__ import annotations

from datetime import datetime

from qsaga.core.contract import ArtefactRef
from qsaga.core.ports import Charge, RemoteJob
from qsaga.core.remote_steps import Settled, SettleInput, Submitted
from qsaga.core.runs import RunRequest


def settlement(
    request: RunRequest,
    since: datetime,
    jobs: tuple[RemoteJob, ...] = (),
    *,
    sent: bool,
    submitted: Submitted | None = None,
    extras: tuple[RemoteJob, ...] = (),
    answered: bool = False,
    decided_by: str = "",
) -> SettleInput:
    """The account of a run.

    Args:
        request: the run's.
        since: when the settling begins.
        jobs: the run's own remote jobs.
        sent: something may have been sent under the tag.
        submitted: how the submission went, if that is known.
        extras: other jobs of the tag, beside those that ``submitted`` tells of.
        answered: the job gets the result.
        decided_by: the person whose word on the jobs is final.
    """
    return SettleInput(
        job_id=request.job_id,
        run_id=request.tag,
        hold=request.hold,
        unsent=not sent,
        decided_by=decided_by,
        since=since,
        jobs=jobs,
        extras=(*(submitted.extras if submitted else ()), *extras),
        outcome="answered" if answered else "not_answered",
    )


def with_late(given: SettleInput, request: RunRequest, late: ArtefactRef | None) -> SettleInput:
    """The same account with a result that nobody waited for, and what it is compared with."""
    if late is None:
        return given
    return given.model_copy(
        update={
            "outcome": "late",
            "late": late,
            "workload": request.workload,
            "model": request.model,
            "reduction": request.reduction,
        }
    )


def booked_before(given: SettleInput, settled: Settled | None, since: datetime) -> SettleInput:
    """The account once more, with the charges that are booked: nobody is asked for them again.

    Args:
        given: as it was settled.
        settled: what came of that.
        since: when this settling begins.
    """
    again = given.model_copy(update={"since": since})
    if settled is None or not settled.charges:
        return again
    jobs = {charge.provider_job_id: _charged(charge) for charge in settled.charges}
    own = {job.provider_job_id for job in given.jobs}
    return again.model_copy(
        update={
            "booked": True,
            "jobs": tuple(job for key, job in jobs.items() if key in own),
            "extras": tuple(job for key, job in jobs.items() if key not in own),
        }
    )


def _charged(charge: Charge) -> RemoteJob:
    return RemoteJob(
        provider_job_id=charge.provider_job_id,
        backend=charge.backend,
        state=charge.state,
        quantum_seconds=charge.cost.quantum_seconds,
    )
