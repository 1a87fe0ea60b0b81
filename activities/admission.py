"""Admit: check the request, survey the providers, decide the route, open the row."""

from __future__ import annotations

import asyncio

from temporalio import activity

from qsaga.core.errors import KeyConflict, ProviderError
from qsaga.core.jobs import Estimate, JobRequest, Optimise, Sample
from qsaga.core.policy import BackendFacts, Facts, Policy, decide
from qsaga.core.ports import CircuitReader, JobRecords, QuantumProvider
from qsaga.core.states import Layer
from qsaga.core.steps import Admission, AdmitInput, AdmitStep
from qsaga.core.validation import check_observables
from qsaga.problems.registry import parse


class Admit(AdmitStep):
    """Admission for one deployment.

    Args:
        policy: as the deployment has it, hardware already switched off if settings say so.
        provider: None where no account is configured.
        records: the job table.
        reader: for circuits that users supply.
        deployment: its name.
        grace: seconds after the start of an attempt to submit by which all it sent is listed.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        provider: QuantumProvider | None,
        records: JobRecords,
        reader: CircuitReader,
        deployment: str,
        grace: float,
    ) -> None:
        self._policy, self._provider, self._records = policy, provider, records
        self._reader, self._deployment, self._grace = reader, deployment, grace

    @activity.defn(name="admit")
    async def admit(self, given: AdmitInput) -> Admission:
        """Decide; open the row unless this is a dry run."""
        request = given.request
        if not given.dry_run and (known := await self._known(given)):
            return known
        variables, qubits = await asyncio.to_thread(self._size, request.workload)
        backends, trouble = await self._survey()
        decision = decide(self._policy, _facts(request, variables, qubits, backends, trouble))
        if not given.dry_run:
            await asyncio.to_thread(
                self._records.open, given.job_id, request.payload_hash(), given.at
            )
        return Admission(decision=decision, deployment=self._deployment, grace=self._grace)

    async def _known(self, given: AdmitInput) -> Admission | None:
        # Temporal may have forgotten the job; what it ended with stands, whatever the policy or
        # the backends would say today.
        record = await asyncio.to_thread(self._records.get, given.job_id)
        closed = record.result if record else None
        if record is None or closed is None or closed.decision is None:
            return None
        if record.payload_hash != given.request.payload_hash():
            raise KeyConflict(f"key: {given.job_id!r} belongs to a job with another payload")
        return Admission(
            decision=closed.decision, deployment=self._deployment, grace=self._grace, closed=closed
        )

    def _size(self, workload: Optimise | Sample | Estimate) -> tuple[int | None, int]:
        if isinstance(workload, Optimise):
            problem, model = parse(workload.problem)
            variables, _ = problem.size(model)
            return variables, variables
        verb = workload.kind
        _, qubits = self._reader.read(workload.circuit.format, workload.circuit.source, verb)
        if isinstance(workload, Estimate):
            check_observables(workload, qubits)
        return None, qubits

    async def _survey(self) -> tuple[tuple[BackendFacts, ...], str]:
        if self._provider is None:
            return (), "no account is configured"
        if not self._policy.hardware.enabled:
            return (), ""
        try:
            return await self._provider.backends(), ""
        except ProviderError as error:
            return (), str(error)


def _facts(
    request: JobRequest,
    variables: int | None,
    qubits: int,
    backends: tuple[BackendFacts, ...],
    trouble: str,
) -> Facts:
    budgets, workload = request.budgets, request.workload
    return Facts(
        verb=workload.kind,
        variables=variables,
        qubits=qubits,
        shots=shots_of(workload),
        backends=backends,
        provider_trouble=trouble,
        queue_budget=budgets.seconds(Layer.QUEUE),
        quantum_seconds=budgets.quantum_seconds,
        money=budgets.money,
        currency=budgets.currency,
        forced_route=request.route,
        backend=request.backend,
    )


def shots_of(workload: Optimise | Sample | Estimate) -> int:
    """Shots that a workload asks for; an estimate needs about 1/precision² per observable group."""
    if isinstance(workload, Estimate):
        return max(1, round(1 / workload.precision**2))
    return workload.shots
