"""What is told to whoever closes the account of a run."""

from __future__ import annotations

from datetime import datetime

from qsaga.core.contract import ArtefactRef
from qsaga.core.ports import RemoteJob
from qsaga.core.remote_steps import SettleInput, Submitted
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
