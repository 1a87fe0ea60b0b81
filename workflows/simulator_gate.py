"""The simulator gate of a job: asked once, before the first run on hardware."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from qsaga.core.contract import ArtefactRef
    from qsaga.core.facts import GateTerms
    from qsaga.core.gate import GateInput, GateStep, GateVerdict
    from qsaga.core.jobs import JobRequest
    from qsaga.core.states import Layer
    from qsaga.core.steps import CompiledCircuit, CompileInput, CompileStep, Encoded, Raw
    from workflows.hardware_rung import circuit_of
    from workflows.layers import Allowance, LayerEnded, Stopwatch
    from workflows.spending import Spending


class SimulatorGate:
    """Keeps a circuit off the hardware that shows nothing on a simulator.

    Args:
        request: the job's.
        watch: takes the time.
        time: what the job may use of it.
        stored: what the job has stored; gets what the gate stores.
        spending: where the simulation is booked.
    """

    def __init__(
        self,
        request: JobRequest,
        watch: Stopwatch,
        time: Allowance,
        stored: list[ArtefactRef],
        spending: Spending,
    ) -> None:
        self._request, self._watch, self._time = request, watch, time
        self._stored, self._spending = stored, spending
        self._verdict: GateVerdict | None = None

    async def admit(
        self, terms: GateTerms | None, encoded: Encoded, backend: str | None = None
    ) -> None:
        """Raises LayerEnded where the circuit may not go to hardware, for each rung again.

        Args:
            terms: what it has to show; None is nothing.
            encoded: the circuit.
            backend: whose noise is simulated, where the terms ask for noise.
        """
        if terms is None:
            return
        if self._verdict is None:
            self._verdict = await self._judged(terms, encoded, backend)
        if not self._verdict.passed:
            reason = f"simulator gate: {self._verdict.reason}"
            raise LayerEnded(Layer.SIMULATE, reason, timed_out=False)

    def labelled(self, raw: Raw) -> Raw:
        """The output of a run with what the gate said before it."""
        if self._verdict is None:
            return raw
        verdict = self._verdict.model_dump(mode="json", exclude={"classical_seconds"})
        return raw.model_copy(update={"detail": {**raw.detail, "gate": verdict}})

    async def _judged(self, terms: GateTerms, encoded: Encoded, backend: str | None) -> GateVerdict:
        if encoded.qubits > terms.max_qubits:
            return GateVerdict(
                passed=terms.too_large == "pass",
                simulated=False,
                reason=f"not simulated: {encoded.qubits} qubits, the policy simulates up to "
                f"{terms.max_qubits}",
            )
        noisy = terms.noise and backend is not None and encoded.spec.verb == "sample"
        compiled = await self._compiled(encoded, backend) if noisy and backend else None
        given = GateInput(
            workload=self._request.workload,
            circuit=circuit_of(encoded),
            model=encoded.model,
            spec=encoded.spec,
            seed=self._request.seed,
            terms=terms,
            peak=self._request.expect_peak,
            reduction=encoded.reduction,
            compiled=compiled,
        )
        budget = self._time.of(Layer.SIMULATE)
        with self._spending.unless_answered(min(terms.seconds, budget)):
            verdict = await self._watch.step(Layer.SIMULATE, budget, GateStep.gate, given)
        self._spending.book(verdict.classical_seconds)
        return verdict

    async def _compiled(self, encoded: Encoded, backend: str) -> CompiledCircuit:
        compiled = await self._watch.step(
            Layer.COMPILE,
            self._time.of(Layer.COMPILE),
            CompileStep.compile,
            CompileInput(
                circuit=circuit_of(encoded),
                backend=backend,
                seed=self._request.seed,
                spec=encoded.spec,
                tenant=self._request.tenant,
            ),
        )
        self._stored.extend(ref for ref in (compiled.isa, compiled.calibration) if ref)
        return compiled
