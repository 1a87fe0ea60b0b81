"""What is held of a tenant's budgets while a job is under way."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from qsaga.core.admission import Admission
from qsaga.core.errors import InvalidRequest, PolicyRefused
from qsaga.core.facts import Decision
from qsaga.core.jobs import JobRequest, submission_tag
from qsaga.core.ledger import Amounts, Hold, Ledger, Shortage, Tenant, hold_key
from qsaga.core.policy import Policy, decide
from qsaga.core.states import CLASSICAL_LAYER, Layer, Rung


class Reserving:
    """Holds what an admission may use, or decides again without what there is no budget for.

    Args:
        policy: by which it is decided again.
        deployment: its name.
        ledger: of the tenants' budgets.
    """

    def __init__(self, policy: Policy, deployment: str, ledger: Ledger) -> None:
        self._policy, self._deployment, self._ledger = policy, deployment, ledger

    async def reserve(
        self,
        request: JobRequest,
        admission: Admission,
        tenant: Tenant | None,
        at: datetime,
        *,
        dry_run: bool = False,
    ) -> Admission:
        """The admission with what is held for it; ``dry_run`` only looks whether that is there."""
        # One that is refused is given back what it may hold when it is closed. Released here, its
        # keys could not be held any more, and a repeat would find nothing short.
        short = await self._hold(request, admission, at, dry_run=dry_run)
        if short and _without(admission.decision, tenant):
            try:
                admission = self._without_hardware(admission, _text(request, short))
            except PolicyRefused as error:
                return admission.model_copy(update={"refused": str(error)})
            short = await self._hold(request, admission, at, dry_run=dry_run)
        if short:
            return admission.model_copy(update={"refused": _text(request, short)})
        return await self.with_what_is_left(admission, tenant, at)

    def in_currency(self, request: JobRequest, admission: Admission, tenant: Tenant) -> Admission:
        """Without hardware where that is priced in another currency than the tenant's.

        Raises InvalidRequest.
        """
        budgets, expected = request.budgets, admission.decision.forecast
        most = expected.ceiling if expected else None
        if budgets.money is not None and budgets.currency != tenant.currency:
            raise InvalidRequest(
                "budgets.currency", f"{budgets.currency!r} is not the tenant's", tenant.currency
            )
        if most is None or not most.money or most.currency == tenant.currency:
            return admission
        return self._without_hardware(
            admission, f"priced in {most.currency}, the tenant pays in {tenant.currency}"
        )

    def _without_hardware(self, admission: Admission, why: str) -> Admission:
        facts = admission.decision.facts.model_copy(update={"withheld": why})
        return admission.model_copy(update={"decision": decide(self._policy, facts)})

    async def _hold(
        self, request: JobRequest, admission: Admission, at: datetime, *, dry_run: bool
    ) -> tuple[Shortage, ...]:
        holds = self._holds(request, admission)
        if dry_run:
            return await self._ledger.shortages(request.tenant, holds, at)
        return await self._ledger.reserve(request.tenant, request.job_id, holds, at)

    def _holds(self, request: JobRequest, admission: Admission) -> tuple[Hold, ...]:
        """The most that the job may use: one hold for itself, one for its hardware run."""
        decision, budgets = admission.decision, request.budgets
        job, hardware = self._keys(request, admission.account)
        classical = sum(
            budgets.seconds(CLASSICAL_LAYER[rung])
            for rung in decision.ladder
            if rung in CLASSICAL_LAYER
        )
        if decision.hedge is not None:  # in place of the rung, or beside it
            classical += decision.hedge.seconds or budgets.seconds(Layer.SOLVE)
        if decision.gate is not None:
            classical += min(decision.gate.seconds, budgets.seconds(Layer.SIMULATE))
        ceiling = decision.forecast.ceiling if decision.forecast else None
        own = Hold(
            key=job,
            amounts=Amounts(jobs=Decimal(1), classical_seconds=Decimal(str(classical))),
            currency=ceiling.currency if ceiling else budgets.currency,
        )
        if Rung.HARDWARE not in decision.ladder or ceiling is None:
            # Zero in place of what an earlier admission may have held.
            return (own, Hold(key=hardware, amounts=Amounts(), currency=own.currency))
        return (own, Hold(key=hardware, amounts=Amounts.most(ceiling), currency=ceiling.currency))

    async def release(self, request: JobRequest, account: str, at: datetime) -> None:
        """Give back what is held for a job that will never close."""
        await self._ledger.release(
            self._keys(request, account), at, tenant=request.tenant, job_id=request.job_id
        )

    def _keys(self, request: JobRequest, account: str) -> tuple[str, str]:
        tag = submission_tag(self._deployment, request.job_id, 0)
        return hold_key(request.job_id, account), hold_key(tag, account)

    async def with_what_is_left(
        self, admission: Admission, tenant: Tenant | None, at: datetime
    ) -> Admission:
        """What a person who is asked sees of the tenant's budgets."""
        if tenant is None or admission.decision.approval is None:
            return admission
        statement = await self._ledger.statement(tenant.name, at)
        left = "; ".join(line.text() for line in statement.lines if line.limit is not None)
        return admission.model_copy(update={"left": left})


def _without(decision: Decision, tenant: Tenant | None) -> bool:
    """Whether a job goes on without the hardware that there is no budget for."""
    if Rung.HARDWARE not in decision.ladder:
        return False
    # Behind another rung it most likely would not have been used.
    wanted = decision.ladder[0] is Rung.HARDWARE
    return not wanted or (tenant is not None and tenant.when_spent == "fallback")


def _text(request: JobRequest, short: tuple[Shortage, ...]) -> str:
    return "; ".join(one.text(request.tenant) for one in short)
