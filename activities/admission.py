"""Admit: check the caller and the request, survey the providers, decide, open the row, reserve."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from temporalio import activity

from activities.doorman import Doorman
from activities.enquiry import offered, patience
from activities.identified import current_caller
from activities.reserving import Reserving
from activities.sizing import size_of
from qsaga.core.admission import Admission, AdmitInput, AdmitStep, ReadmitInput, ReadmitStep
from qsaga.core.errors import (
    Forbidden,
    InvalidRequest,
    KeyConflict,
    ProviderError,
    Unauthenticated,
)
from qsaga.core.facts import BackendFacts, Facts
from qsaga.core.identity import Caller, Role, require, said_to_be
from qsaga.core.jobs import Estimate, JobRequest, Optimise, Sample
from qsaga.core.ledger import Ledger, Tenant
from qsaga.core.lineage import input_digest
from qsaga.core.loop_rules import loop_of
from qsaga.core.policy import Policy, decide
from qsaga.core.ports import CircuitReader, QuantumProvider
from qsaga.core.records import AuditEntry, AuditLog, JobOpening, JobRecord, JobRecords
from qsaga.core.reduction import Reducer
from qsaga.core.roles import Queues
from qsaga.core.shots import shots_for
from qsaga.core.states import CIRCUIT_RUNGS, HARDWARE_RUNGS, Layer, Rung

REFUSALS = (InvalidRequest, KeyConflict, Unauthenticated, Forbidden)


@dataclass(frozen=True)
class Terms:
    """What a deployment decides by.

    Args:
        policy: as the deployment has it, hardware already switched off if settings say so.
        deployment: its name.
        identity_required: every caller must prove who he is.
        registered_only: a tenant whom nobody has set up is refused.
        queues: task queues of the roles of workers, which the job's workflows are told.
    """

    policy: Policy
    deployment: str
    identity_required: bool = False
    registered_only: bool = False
    queues: Queues = field(default_factory=dict)


class Admit(AdmitStep, ReadmitStep):
    """Admission for one deployment.

    ``provider`` is None where no account is configured, ``learned`` the name of the installed
    estimator, ``reducer`` None where models are encoded as they are.
    """

    def __init__(
        self,
        terms: Terms,
        *,
        provider: QuantumProvider | None,
        records: JobRecords,
        ledger: Ledger,
        audit: AuditLog,
        reader: CircuitReader,
        doorman: Doorman,
        learned: str = "",
        reducer: Reducer | None = None,
    ) -> None:
        self._terms, self._provider, self._doorman = terms, provider, doorman
        self._records, self._ledger, self._audit = records, ledger, audit
        self._budget = Reserving(terms.policy, terms.deployment, ledger)
        self._reader, self._learned, self._reducer = reader, learned, reducer

    @activity.defn(name="admit")
    async def admit(self, given: AdmitInput) -> Admission:
        """Decide; open the row and reserve unless this is a dry run."""
        try:
            return await self._admit(given)
        except REFUSALS:
            if activity.info().attempt > 1 and given.account:
                # An attempt that died may have reserved; this job will never close.
                await self._budget.release(given.request, given.account, given.at)
            raise

    async def _admit(self, given: AdmitInput) -> Admission:
        request = given.request
        tenant, record = await asyncio.gather(
            self._ledger.tenant(request.tenant), self._records.get(given.job_id)
        )
        caller, guarded = self._caller(request, tenant)
        if not given.dry_run and (known := await self._known(given, record)):
            return known.model_copy(update={"guarded": guarded})
        facts = _granted(given, await self._facts(request), guarded=guarded)
        # Before there is a row: a request that is refused leaves its key free.
        admission = self._judged(request, facts, tenant, caller, guarded=guarded)
        admission = admission.model_copy(update={"account": given.account})
        if given.dry_run:
            return await self._budget.reserve(request, admission, tenant, given.at, dry_run=True)
        await self._records.open(
            JobOpening(
                job_id=given.job_id,
                payload_hash=request.payload_hash(),
                at=given.at,
                submitter=admission.submitter,
                guarded=guarded,
                request=request,
                decision=admission.decision,
            )
        )
        if caller.verified:
            await self._audit.note(
                AuditEntry(
                    id=f"{given.job_id}/{given.account}/start",
                    at=given.at,
                    who=caller.subject,
                    verified=True,
                    action="start",
                    tenant=request.tenant,
                    subject=given.job_id,
                )
            )
        return await self._budget.reserve(request, admission, tenant, given.at)

    async def whole(self, request: JobRequest, evaluations: int, at: datetime) -> Admission:
        """Decide on a loop of so many evaluations; opens and holds nothing.

        Raises as ``admit`` does.
        """
        tenant = await self._ledger.tenant(request.tenant)
        caller, guarded = self._caller(request, tenant)
        facts = await self._facts(request)
        # The limit of one run says nothing of all of them.
        changed = {"evaluations": evaluations, "execution_limit": None}
        facts = facts.model_copy(update=changed)
        admission = self._judged(request, facts, tenant, caller, guarded=guarded)
        return await self._budget.with_what_is_left(admission, tenant, at)

    def _judged(
        self,
        request: JobRequest,
        facts: Facts,
        tenant: Tenant | None,
        caller: Caller,
        *,
        guarded: bool,
    ) -> Admission:
        admission = Admission(
            decision=decide(self._terms.policy, facts),
            deployment=self._terms.deployment,
            submitter=caller.subject if caller.verified else request.requested_by,
            guarded=guarded,
            queues=dict(self._terms.queues),
            frugal=True,
        )
        return admission if tenant is None else self._budget.in_currency(request, admission, tenant)

    @activity.defn(name="readmit")
    async def readmit(self, given: ReadmitInput) -> Admission:
        """Decide again on the facts of now, within what was approved."""
        await self._doorman.admits(given.job_id)
        request, ceiling = given.request, given.ceiling
        facts = await self._facts(request)
        withheld = given.withheld or facts.withheld
        changed: dict[str, object] = {"approved": True, "withheld": withheld}
        if ceiling is None:
            # The approver was shown no price: what has opened since was not approved.
            changed["withheld"] = withheld or "it was not part of what was approved"
        else:
            money = ceiling.money if facts.money is None else min(facts.money, ceiling.money)
            changed |= {
                "quantum_seconds": min(facts.quantum_seconds, ceiling.quantum_seconds),
                "money": money,
                "currency": ceiling.currency,
            }
        decision = decide(self._terms.policy, facts.model_copy(update=changed))
        tenant = await self._ledger.tenant(request.tenant)
        admission = given.admission.model_copy(update={"decision": decision})
        if tenant is not None:
            admission = self._budget.in_currency(request, admission, tenant)
        return await self._budget.reserve(request, admission, tenant, given.at)

    # --- who -------------------------------------------------------------------------------------

    def _caller(self, request: JobRequest, tenant: Tenant | None) -> tuple[Caller, bool]:
        """Who starts the job, and whether everybody who touches it must prove who he is."""
        if tenant is None and self._terms.registered_only:
            raise InvalidRequest(
                "tenant", f"unknown tenant {request.tenant!r}", "one that an operator has set up"
            )
        guarded = self._terms.identity_required or bool(tenant and tenant.identity_required)
        caller = current_caller()
        if caller is None and not guarded:
            caller = said_to_be(request.requested_by)
        caller = require(caller, Role.SUBMITTER, request.tenant)
        if caller.verified and request.requested_by not in (None, caller.subject):
            raise InvalidRequest(
                "requested_by",
                f"{request.requested_by!r} is not the caller",
                f"{caller.subject!r}, or nothing",
            )
        return caller, guarded

    async def _known(self, given: AdmitInput, record: JobRecord | None) -> Admission | None:
        # Temporal may have forgotten the job; what it ended with stands, whatever the policy or
        # the backends would say today.
        closed = record.result if record else None
        if record is None or closed is None:
            return None
        if record.payload_hash != given.request.payload_hash():
            raise KeyConflict(f"key: {given.job_id!r} belongs to a job with another payload")
        # A job that ended before it was decided on has none; nobody looks at this one.
        decision = closed.decision or decide(self._terms.policy, await self._facts(given.request))
        return Admission(
            decision=decision,
            deployment=self._terms.deployment,
            closed=closed,
        )

    # --- the facts -------------------------------------------------------------------------------

    async def _facts(self, request: JobRequest) -> Facts:
        reducer = self._reducer if self._may_want(CIRCUIT_RUNGS, request) else None
        size = await asyncio.to_thread(size_of, request.workload, self._reader, reducer)
        backends, trouble = await self._survey(request)
        runs = 0
        if request.template is not None:
            runs = await self._records.template_runs(request.tenant, request.template)
        budgets, workload = request.budgets, request.workload
        age = await self._cached_age(request)
        return Facts(
            verb=workload.kind,
            variables=size.variables,
            qubits=size.qubits,
            shots=shots_of(workload),
            executions=executions_of(workload),
            backends=backends,
            provider_trouble=trouble,
            queue_budget=budgets.seconds(Layer.QUEUE),
            quantum_seconds=budgets.quantum_seconds,
            execution_limit=budgets.execution_limit(),
            money=budgets.money,
            currency=budgets.currency,
            forced_route=self._route(request, age),
            backend=request.backend,
            tenant=request.tenant,
            sensitivity=request.sensitivity,
            regions=request.regions,
            environment=request.environment,
            template=request.template,
            template_runs=runs,
            withheld=self._unmitigated(workload),
            cached_age=age,
            learned=self._learned,
            reduction=size.reduction,
            warnings=size.warnings,
        )

    def _unmitigated(self, workload: Optimise | Sample | Estimate) -> str:
        """Why hardware cannot do what is asked about noise: an answer without would be paid for."""
        there = self._provider
        if there is None or there.capabilities.mitigation or executions_of(workload) is None:
            return ""
        return f"the provider {there.name} takes no options of error mitigation"

    async def _cached_age(self, request: JobRequest) -> float | None:
        workload = request.workload
        rungs = (request.route, *self._terms.policy.ladders[workload.kind])
        if request.reuse is None and Rung.CACHED not in rungs:
            return None
        found = await self._records.newest_answer(request.tenant, input_digest(workload))
        now = activity.info().started_time
        return max(0.0, (now - found.closed).total_seconds()) if found else None

    def _route(self, request: JobRequest, age: float | None) -> Rung | None:
        """The rung that is asked for: an earlier answer before all, where it may be served."""
        most = self._terms.policy.cached_max_age
        if request.reuse is None or most is None or age is None:
            return request.route
        return Rung.CACHED if age <= min(request.reuse, most) else request.route

    async def _survey(self, request: JobRequest) -> tuple[tuple[BackendFacts, ...], str]:
        if self._provider is None:
            return (), "no account is configured"
        if not self._terms.policy.hardware.enabled:
            return (), ""
        try:
            forced = request.route is not None and request.route not in HARDWARE_RUNGS
            wanted = not forced and self._may_want(HARDWARE_RUNGS, request)
            seconds = patience(request.budgets) if wanted else 0.0
            return await offered(self._provider, seconds), ""
        except ProviderError as error:
            return (), str(error)

    def _may_want(self, rungs: frozenset[Rung], request: JobRequest) -> bool:
        policy = self._terms.policy
        known = {request.route, *(rule.route for rule in policy.rules)}
        return not rungs.isdisjoint(known | {*policy.ladders[request.workload.kind]})


def _granted(given: AdmitInput, facts: Facts, *, guarded: bool) -> Facts:
    """The facts of a job whose loop was decided on as a whole."""
    grant = given.grant
    if grant is None or grant.loop_id != loop_of(given.job_id) or (guarded and not grant.guarded):
        return facts
    withheld = facts.withheld or grant.withheld
    return facts.model_copy(update={"loop": grant.loop_id, "withheld": withheld})


def shots_of(workload: Optimise | Sample | Estimate) -> int:
    """Shots that a workload asks for; an estimate needs about 1/precision² per observable group."""
    return shots_for(workload.precision) if isinstance(workload, Estimate) else workload.shots


def executions_of(workload: Optimise | Sample | Estimate) -> int | None:
    """Shots that a machine has to run with all that is asked about noise; None if nothing is."""
    asked = workload.mitigation
    return None if asked is None else asked.executions(shots_of(workload))
