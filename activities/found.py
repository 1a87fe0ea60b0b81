"""Remote jobs that no run accounts for any more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from activities.booking import charge_of, settle_hold, total_of
from qsaga.core.errors import ProviderError
from qsaga.core.ledger import Ledger, hold_key
from qsaga.core.policy import Policy
from qsaga.core.ports import QuantumProvider, RemoteJob
from qsaga.core.records import JobRecords


class Found:
    """Ends and books them, on the job whose tag they bear.

    A job that was listed later than its provider is relied upon for is found after the account of
    its run was closed; one whose run was terminated has nobody else.
    """

    def __init__(
        self, provider: QuantumProvider, records: JobRecords, ledger: Ledger, policy: Policy
    ) -> None:
        self._provider, self._records = provider, records
        self._ledger, self._policy = ledger, policy

    async def account(
        self,
        remote: Sequence[RemoteJob],
        booked: set[str],
        running: Callable[[str], Awaitable[bool]],
        at: datetime,
    ) -> tuple[str, ...]:
        """Account for what has no charge and no run at work; returns the provider's ids.

        Args:
            remote: the deployment's jobs at the provider.
            booked: ids of those that have a charge.
            running: whether the run of a tag is at work.
            at: now.
        """
        done = []
        for job in remote:
            if job.provider_job_id in booked:
                continue
            for tag in job.tags:
                owner = await self._records.owner(tag)
                if owner is None or await running(tag):
                    continue
                try:
                    await self._book(job, tag, owner, at)
                except ProviderError:
                    continue  # the next time, then
                done.append(job.provider_job_id)
        return tuple(done)

    async def _book(self, job: RemoteJob, tag: str, owner: str, at: datetime) -> None:
        charge = await charge_of(self._provider, self._policy, job, "extra")
        await self._records.settle_run(owner, tag, (charge,), None)
        record = await self._records.get(owner)
        own = {
            run.provider_job_id
            for run in await self._records.booked(self._provider.name)
            if run.run_id == tag
        }
        charges = [c for c in (record.charges if record else ()) if c.provider_job_id in own]
        holds = [
            one.key
            for one in await self._ledger.reservations(owner)
            if one.key.partition("#")[0] == tag
        ]
        # The last one stands for the run: what the others booked is taken off.
        hold = holds[-1] if holds else hold_key(tag, "found")
        await settle_hold(self._ledger, hold, tag, owner, total_of(charges), at)
