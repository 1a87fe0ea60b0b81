"""From the workload to a verified answer: encode, solve, simulate, verify, close."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Mapping
from datetime import datetime
from functools import cache, partial

from temporalio import activity

from activities.admission import shots_of
from activities.doorman import Doorman
from activities.leaving import Leaving, handed_back
from activities.running import server_now
from qsaga.core.applied import Applied, not_applied, on_hardware
from qsaga.core.confidence import unverified
from qsaga.core.contract import ArtefactRef
from qsaga.core.distance import distance
from qsaga.core.errors import ResultUnusable, SolverError
from qsaga.core.jobs import Estimate, Optimise, Sample, Workload, submission_tag
from qsaga.core.ledger import Amounts, Ledger, hold_key
from qsaga.core.lineage import input_digest
from qsaga.core.mitigation import for_run
from qsaga.core.ports import (
    AnsatzBuilder,
    ArtefactStore,
    CircuitReader,
    CircuitResult,
    RunSpec,
)
from qsaga.core.records import JobOpening, JobRecords
from qsaga.core.reduction import Reducer, Reduction
from qsaga.core.results import Answer, Cost, JobResult, OptimiseAnswer, SampleAnswer
from qsaga.core.solvers import ClassicalSolver, Distributions, Incumbents, Simulator
from qsaga.core.states import COMPUTED, HARDWARE_RUNGS, Rung
from qsaga.core.steps import (
    CloseInput,
    CloseStep,
    Encoded,
    EncodeInput,
    EncodeStep,
    Raw,
    SimulateInput,
    SimulateStep,
    SolveInput,
    SolveStep,
    Verified,
    VerifyInput,
    VerifyStep,
)
from qsaga.problems.polish import Polisher
from qsaga.problems.reduction import REDUCTION_MEDIA, load_reduction, smaller
from qsaga.problems.registry import PREPROCESSING, parse
from qsaga.problems.verify import (
    CIRCUIT_RESULT,
    SAMPLE_SET,
    dump_model,
    postprocessing,
    verify,
)

BQM = "application/vnd.dimod.bqm"
QPY = "application/vnd.qiskit.qpy"
SHORTEST_SOLVE = 0.05
"""Seconds that an attempt works at least: a solver always takes one read."""


@cache
def machine() -> dict[str, str]:
    """Interpreter and platform of this process."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "architecture": platform.machine(),
    }


class Encode(EncodeStep):
    """Problem to binary quadratic model to circuit."""

    def __init__(
        self,
        artefacts: ArtefactStore,
        builder: AnsatzBuilder,
        reader: CircuitReader,
        reducer: Reducer | None = None,
    ) -> None:
        self._artefacts, self._builder, self._reader = artefacts, builder, reader
        self._reducer = reducer

    @activity.defn(name="encode")
    async def encode(self, given: EncodeInput) -> Encoded:
        """Store the model and the circuit."""
        return await asyncio.to_thread(self._encode, given)

    def _encode(self, given: EncodeInput) -> Encoded:
        workload = given.workload
        if not isinstance(workload, Optimise):
            verb = workload.kind
            qpy, qubits = self._reader.read(workload.circuit.format, workload.circuit.source, verb)
            estimate = workload if isinstance(workload, Estimate) else None
            return Encoded(
                model=None,
                circuit=self._artefacts.put(qpy, QPY),
                spec=RunSpec(
                    verb=verb,
                    shots=shots_of(workload),
                    observables=estimate.observables if estimate else (),
                    precision=estimate.precision if estimate else None,
                    max_seconds=given.max_seconds,
                    mitigation=for_run(workload.mitigation),
                ),
                qubits=qubits,
                input_sha256=input_digest(workload),
                formulation=self._reader.formulation,
                preprocessing=self._reader.preprocessing,
                parameter_sets=1,
            )
        problem, model = parse(workload.problem)
        bqm = problem.formulate(model)
        data = dump_model(bqm)
        reduction = self._reducer.reduce(data) if self._reducer and given.reduction else None
        left = smaller(bqm, reduction) if reduction else bqm
        circuit = None
        if given.circuit_wanted and left.num_variables:
            circuit = self._builder.build(dump_model(left), workload.algorithm)
        return Encoded(
            model=self._artefacts.put(data, BQM),
            circuit=self._artefacts.put(circuit, QPY) if circuit else None,
            spec=RunSpec(
                verb="sample",
                shots=workload.shots,
                max_seconds=given.max_seconds,
                mitigation=for_run(workload.mitigation),
            ),
            qubits=left.num_variables if circuit is not None else bqm.num_variables,
            input_sha256=input_digest(workload),
            formulation=problem.formulation
            + (f", {self._builder.version}" if circuit is not None else ""),
            preprocessing=PREPROCESSING,
            variables=bqm.num_variables,
            couplings=bqm.num_interactions,
            parameter_sets=1 if circuit is not None else None,
            reduction=self._put(reduction) if reduction else None,
            reduced=reduction.size if reduction else None,
        )

    def _put(self, reduction: Reduction) -> ArtefactRef:
        return self._artefacts.put(reduction.model_dump_json().encode(), REDUCTION_MEDIA)


class Solve(SolveStep):
    """The annealing rung, and the hedge beside hardware."""

    def __init__(
        self,
        artefacts: ArtefactStore,
        solver: ClassicalSolver,
        incumbents: Incumbents,
        drain: float = 20.0,
    ) -> None:
        self._artefacts, self._solver, self._incumbents = artefacts, solver, incumbents
        self._drain = drain

    @activity.defn(name="solve")
    async def solve(self, given: SolveInput) -> Raw:
        """Use the time given; the solver returns by itself.

        The best samples so far are kept under the key: a later attempt goes on from them with what
        is left of the time, and they can be served when every worker that solves is dead.
        """
        left = given.seconds
        if activity.info().attempt > 1:
            left -= (server_now() - activity.info().scheduled_time).total_seconds()
        return await asyncio.to_thread(self._solve, given, max(left, SHORTEST_SOLVE))

    def _solve(self, given: SolveInput, seconds: float) -> Raw:
        began = time.perf_counter()
        key, model = given.key, self._artefacts.get(given.model)
        leaving = Leaving(seconds, self._drain)
        found = self._solver.solve(
            model,
            seconds,
            given.seed,
            start=self._incumbents.begin(key) if key else None,
            better=leaving.unless_cancelled(partial(self._incumbents.put, key)) if key else None,
            should_stop=leaving.should_stop,
        )
        leaving.check()
        if key and leaving.should_stop() and leaving.left() > SHORTEST_SOLVE:
            self._incumbents.put(key, found)
            raise handed_back(f"{leaving.left():.1f} s of the solver's time are left")
        return Raw(
            rung=Rung.ANNEALING,
            provider=self._solver.name,
            result=self._artefacts.put(found, SAMPLE_SET),
            cost=Cost(classical_seconds=round(time.perf_counter() - began, 3)),
        )


class Simulate(SimulateStep):
    """The simulator rung."""

    def __init__(self, artefacts: ArtefactStore, simulator: Simulator) -> None:
        self._artefacts, self._simulator = artefacts, simulator

    @activity.defn(name="simulate")
    async def simulate(self, given: SimulateInput) -> Raw:
        """Run the circuit here."""
        began = time.perf_counter()
        qpy = await asyncio.to_thread(self._artefacts.get, given.circuit)
        result = await self._simulator.run(qpy, given.spec, given.seed)
        kept = await asyncio.to_thread(
            self._artefacts.put, result.model_dump_json().encode(), CIRCUIT_RESULT
        )
        return Raw(
            rung=Rung.SIMULATOR,
            provider=self._simulator.name,
            result=kept,
            cost=Cost(classical_seconds=round(time.perf_counter() - began, 3)),
        )


class Verify(VerifyStep):
    """Decode, polish, check against the input."""

    def __init__(
        self,
        artefacts: ArtefactStore,
        polisher: Polisher,
        software: Mapping[str, str],
        distributions: Distributions,
    ) -> None:
        self._artefacts, self._polisher = artefacts, polisher
        self._software, self._distributions = dict(software), distributions

    @activity.defn(name="verify")
    async def verify(self, given: VerifyInput) -> Verified:
        """The answer in the words of the workload."""
        return await asyncio.to_thread(self._verify, given)

    def _verify(self, given: VerifyInput) -> Verified:
        raw = given.raw
        model = self._artefacts.get(given.model) if given.model else None
        reduction = load_reduction(self._kept(raw, raw.reduction)) if raw.reduction else None
        output = self._kept(raw, raw.result)
        answer, polished = verify(
            given.workload,
            model,
            output,
            raw.result.media,
            self._polisher,
            reduction,
        )
        nothing_ran = raw.rung not in COMPUTED | {Rung.CACHED}
        if nothing_ran and not isinstance(answer, OptimiseAnswer):
            answer = unverified(answer)  # nothing that could be checked against the circuit
        return Verified(
            answer=compared(answer, given.workload, origin(raw), self._distributions),
            software=self._software,
            polished=polished,
            postprocessing=postprocessing(given.workload, self._polisher, reduction),
            machine=machine(),
            mitigation=about_noise(given.workload, raw, output),
        )

    def _kept(self, raw: Raw, ref: ArtefactRef) -> bytes:
        try:
            return self._artefacts.get(ref)
        except (KeyError, ValueError) as error:
            if "of_job" not in raw.detail:  # of this job: it is there, or will be in a moment
                raise
            raise ResultUnusable(
                f"the output behind the answer of {raw.detail['of_job']} is not kept any more"
            ) from error


def compared(answer: Answer, workload: Workload, ran: str, distributions: Distributions) -> Answer:
    """With the distance of counts from hardware to what their circuit should show."""
    if not (isinstance(answer, SampleAnswer) and isinstance(workload, Sample)):
        return answer
    try:
        ideal = distributions.of(workload.circuit) if ran in HARDWARE_RUNGS else None
        far = None if ideal is None else distance(answer.counts, ideal)
    except SolverError as error:  # what is told beside an answer must not take it away
        activity.logger.warning("no distance of these counts: %s", error)
        return answer
    return answer if far is None else answer.model_copy(update={"distance": far})


def origin(raw: Raw) -> str:
    """The rung that ran the circuit: an earlier answer keeps it in its details."""
    return str(raw.detail.get("source", raw.rung))


def about_noise(workload: Workload, raw: Raw, output: bytes) -> Applied | None:
    """What was asked about the noise of a device and what was done; None if nothing was."""
    ran = origin(raw)
    if ran in HARDWARE_RUNGS and raw.result.media == CIRCUIT_RESULT:
        result = CircuitResult.model_validate_json(output)
        return on_hardware(workload.mitigation, result.applied)
    asked = workload.mitigation
    return None if asked is None else not_applied(asked, ran)


class Close(CloseStep):
    """The closing record, and the job's own account."""

    def __init__(
        self,
        records: JobRecords,
        ledger: Ledger,
        deployment: str,
        doorman: Doorman,
        incumbents: Incumbents,
    ) -> None:
        self._records, self._ledger, self._deployment = records, ledger, deployment
        self._doorman, self._incumbents = doorman, incumbents

    @activity.defn(name="close")
    async def close(self, given: CloseInput) -> JobResult | None:
        """Write it once, also of a job that ended before its row was opened."""
        result = given.result
        await self._doorman.admits(result.job_id)
        at = result.transitions[-1].at
        opening = JobOpening(
            job_id=result.job_id,
            payload_hash=result.payload_hash,
            at=result.transitions[0].at,
            submitter=result.submitter,
            request=given.request,
            decision=result.decision,
        )
        # A task that closed the job may be turned down: the next one measures other times.
        earlier = await self._records.close(result, given.artefacts, opening)
        if given.account:
            await self._settle(earlier or result, given, at)
        for key in filter(None, (given.incumbent, given.searched)):
            await asyncio.to_thread(self._incumbents.drop, key)
        return earlier if earlier != result else None

    async def _settle(self, result: JobResult, given: CloseInput, at: datetime) -> None:
        tags = (
            submission_tag(self._deployment, result.job_id, number) for number in range(given.holds)
        )
        await self._ledger.settle(
            hold_key(result.job_id, given.account),
            Amounts.classical(result.cost),
            at,
            tenant=result.tenant,
            job_id=result.job_id,
            currency=result.cost.currency,
            # A run that was begun settles its own.
            unused=tuple(hold_key(tag, given.account) for tag in tags if tag not in given.run_ids),
        )
