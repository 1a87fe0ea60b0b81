"""Submit or adopt."""

from __future__ import annotations

import asyncio
from datetime import datetime

from temporalio import activity

from activities.doorman import Doorman
from activities.quarantine import Quarantine
from activities.running import elapsed, not_yet, seconds_remaining, server_now
from qsaga.core.errors import PermanentProviderError, PolicyRefused, TransientProviderError
from qsaga.core.ports import ArtefactStore, QuantumProvider, RemoteJob, SubmissionKey
from qsaga.core.remote_steps import SubmitInput, SubmitStep, Submitted
from qsaga.core.submission import (
    SEND_WINDOW,
    Adopt,
    AskPerson,
    Closed,
    Intent,
    Send,
    Submissions,
    Wait,
    judge,
)
from qsaga.core.timing import LAST_LOOK, in_time, poll_delay

PAUSES = (0.5, 2.0, 5.0)
"""Seconds between tries of a submission that the provider surely did not accept."""
LATE = 3.0
"""Seconds that an attempt keeps for noting how a sending went."""


class Submit(SubmitStep):
    """Submit or adopt: what ``qsaga.core.submission.judge`` says, step by step.

    Every sending is written down before it begins, by compare-and-set on what was there before
    the provider was asked, so that of two attempts that saw the same one sends. An attempt that
    the server has given up for lost cannot send later either: it would be out of its time.
    """

    def __init__(
        self,
        artefacts: ArtefactStore,
        provider: QuantumProvider,
        submissions: Submissions,
        quarantine: Quarantine,
        doorman: Doorman,
    ) -> None:
        self._artefacts, self._provider, self._submissions = artefacts, provider, submissions
        self._quarantine, self._doorman = quarantine, doorman

    @activity.defn(name="submit")
    async def submit(self, given: SubmitInput) -> Submitted:
        """The one job of the tag."""
        await self._doorman.admits(given.job_id, given.tag)
        run = activity.info().workflow_run_id or ""
        for pause in (*PAUSES, None):
            intent = await self._submissions.open(given.job_id, given.tag, run)
            asked_at = server_now()
            found = await self._provider.find(given.tag)
            match judge(found, intent, asked_at, self._provider.capabilities):
                case Adopt(kept, extras):
                    return await self._adopted(given, kept, extras, adopted=True)
                case Wait(seconds):
                    raise self._later(intent, asked_at, seconds)
                case Closed():
                    raise PolicyRefused("the submission is being closed: nothing is sent any more")
                case AskPerson(reason):
                    await self._quarantine.ask(given.job_id, given.tag, reason, found)
                case Send():
                    pass
            try:
                job = await self._send(given, intent)
            except (TransientProviderError, PermanentProviderError) as error:
                # Surely not accepted; any other error leaves it undecided.
                await self._submissions.refused(given.tag, intent.sends + 1)
                asked = error.retry_after if isinstance(error, TransientProviderError) else None
                if pause is None or not error.retryable or (asked or 0.0) > PAUSES[-1]:
                    raise
                await asyncio.sleep(asked or pause)
            else:
                return await self._sent(given, job)
        raise AssertionError("unreachable")

    async def _send(self, given: SubmitInput, intent: Intent) -> RemoteJob:
        isa = await asyncio.to_thread(self._artefacts.get, given.isa)
        intended = elapsed()
        if not await self._submissions.begin_send(given.tag, intent.sends, server_now()):
            raise not_yet("another attempt sends this submission", poll_delay(0.0, None))
        limit = activity.info().start_to_close_timeout
        lost_at = limit.total_seconds() - LATE if limit else float("inf")
        if elapsed() > min(intended + SEND_WINDOW, lost_at):
            raise TransientProviderError("no time was left in this attempt to send")
        key = SubmissionKey(tag=given.tag, deployment_tag=given.deployment_tag)
        return await self._provider.submit(
            isa, given.layout, given.backend, given.spec, key, given.session
        )

    async def _sent(self, given: SubmitInput, job: RemoteJob) -> Submitted:
        others: tuple[RemoteJob, ...] = ()
        if self._provider.capabilities.repeats:
            # Its client may have sent more than once before it told of one.
            found = await self._provider.find(given.tag)
            others = tuple(one for one in found if one.provider_job_id != job.provider_job_id)
        return await self._adopted(given, job, others, adopted=False)

    async def _adopted(
        self,
        given: SubmitInput,
        kept: RemoteJob,
        others: tuple[RemoteJob, ...],
        *,
        adopted: bool,
    ) -> Submitted:
        extras = [
            job if job.state.ended else await self._provider.cancel(job.provider_job_id)
            for job in others
        ]
        return Submitted(
            job=kept,
            provider=self._provider.name,
            adopted=adopted,
            extras=tuple(extras),
        )

    def _later(self, intent: Intent, asked_at: datetime, seconds: float) -> Exception:
        """Look again soon at first, then less often, and when the sending must have shown up."""
        sent = intent.last_sent_at or asked_at
        delay = min(poll_delay((asked_at - sent).total_seconds(), None), seconds + LAST_LOOK)
        delay = in_time(delay, seconds_remaining())
        return not_yet("a submission without a reply may still be listed", delay)
