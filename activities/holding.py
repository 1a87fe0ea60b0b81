"""Reserving for the further hardware runs of a job."""

from __future__ import annotations

from temporalio import activity

from activities.doorman import Doorman
from qsaga.core.jobs import submission_tag
from qsaga.core.ledger import Amounts, Hold, Ledger, hold_key
from qsaga.core.rung_steps import HoldRunInput, HoldRunStep


class HoldRun(HoldRunStep):
    """Reserve in the ledger, under the key that the run itself settles."""

    def __init__(self, ledger: Ledger, deployment: str, doorman: Doorman) -> None:
        self._ledger, self._deployment, self._doorman = ledger, deployment, doorman

    @activity.defn(name="hold_run")
    async def hold_run(self, given: HoldRunInput) -> str:
        """What is short, in words."""
        await self._doorman.admits(given.job_id)
        ceiling = given.ceiling
        tag = submission_tag(self._deployment, given.job_id, given.number)
        hold = Hold(
            key=hold_key(tag, given.account),
            amounts=Amounts.most(ceiling),
            currency=ceiling.currency,
        )
        tenant = given.request.tenant
        short = await self._ledger.reserve(tenant, given.job_id, (hold,), given.at)
        return "; ".join(one.text(tenant) for one in short)
