"""Cases that only a person can decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from temporalio import activity

from qsaga.core.errors import NeedsPerson
from qsaga.core.jobs import tenant_of
from qsaga.core.ports import RemoteJob
from qsaga.core.records import Notice, Notifier
from qsaga.core.submission import Quarantined, Resolution, Submissions


class Quarantine:
    """Writes cases down and tells people of them, once each."""

    def __init__(self, submissions: Submissions, notifier: Notifier) -> None:
        self._submissions, self._notifier = submissions, notifier

    async def ask(self, job_id: str, tag: str, reason: str, seen: Sequence[RemoteJob]) -> NoReturn:
        """Leave the submission to a person.

        Raises:
            NeedsPerson: always, with the reason.
        """
        at = activity.info().started_time
        case = Quarantined(
            run_id=tag,
            job_id=job_id,
            since=at,
            reason=reason,
            intent=await self._submissions.intent(tag),
            seen=tuple(seen),
        )
        if await self._submissions.quarantine(case):
            await self._notifier.tell(
                Notice(
                    kind="quarantined",
                    job_id=job_id,
                    tenant=tenant_of(job_id),
                    text=f"submission {tag} of job {job_id} waits for a person: {reason}",
                    at=at,
                )
            )
        raise NeedsPerson(reason)

    async def word(self, tag: str) -> Resolution | None:
        """What a person found out, if anybody did."""
        return await self._submissions.resolution(tag)
