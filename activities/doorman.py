"""Which steps of a job may be asked for, and by whom."""

from __future__ import annotations

from activities.identified import require_seal
from qsaga.core.errors import Forbidden
from qsaga.core.jobs import submission_tag
from qsaga.core.records import JobRecords

MOST_RUNS = 64
"""A job never has more hardware runs."""


class Doorman:
    """Keeps strangers from jobs that are guarded.

    Whoever may use the Temporal namespace can start any of our workflows with any input, and have
    any step done by our workers. What a step would do to a guarded job it does only when one of
    our own workflows asks. Whether a job is guarded was written down when it was admitted: a
    tenant who changes his mind must not lock out what is under way.

    Args:
        records: the job table.
        deployment: its name.
        required: jobs that were never admitted count as guarded.
    """

    def __init__(self, records: JobRecords, deployment: str, *, required: bool) -> None:
        self._records, self._deployment, self._required = records, deployment, required

    async def admits(self, job_id: str, tag: str | None = None) -> None:
        """Let a step for the job pass, and for its submission of that tag.

        A step that was asked for by an earlier version does not name its job.

        Raises:
            Forbidden: the job is guarded and the step bears no seal, or the tag is not the job's.
        """
        guarded = await self._records.guarded(job_id) if job_id else None
        if self._required if guarded is None else guarded:
            require_seal()
        if (
            job_id
            and tag is not None
            and not any(
                tag == submission_tag(self._deployment, job_id, number)
                for number in range(MOST_RUNS)
            )
        ):
            raise Forbidden(f"tag: {tag!r} is not of job {job_id!r}")
