"""The simulator gate: what a circuit shows before it may cost money."""

from __future__ import annotations

import asyncio
import time

import dimod
import numpy as np
from temporalio import activity

from qsaga.core.errors import SolverError
from qsaga.core.gate import GateInput, GateStep, GateVerdict
from qsaga.core.jobs import Optimise
from qsaga.core.ports import ArtefactStore, CircuitResult
from qsaga.core.solvers import Simulator
from qsaga.problems.base import Bits
from qsaga.problems.polish import descend, energies
from qsaga.problems.reduction import kept_reduction, smaller
from qsaga.problems.verify import REGISTER, load_model

STARTS = 64
"""Assignments that are improved greedily to learn how low an energy can be."""
FLAT = 1e-9
"""Relative difference of energies that counts as none."""


class Gate(GateStep):
    """Simulates: a circuit that shows nothing here shows nothing on a device.

    Args:
        artefacts: where circuits and calibrations are.
        simulator: runs them.
    """

    def __init__(self, artefacts: ArtefactStore, simulator: Simulator) -> None:
        self._artefacts, self._simulator = artefacts, simulator

    @activity.defn(name="gate")
    async def gate(self, given: GateInput) -> GateVerdict:
        """Simulate within the limits, and compare."""
        began = time.perf_counter()
        verdict = await self._verdict(given)
        taken = round(time.perf_counter() - began, 3)
        return verdict.model_copy(update={"classical_seconds": taken})

    async def _verdict(self, given: GateInput) -> GateVerdict:
        compiled = given.compiled
        if compiled is not None and compiled.calibration is None:
            return not_simulated(given, f"{compiled.facts.backend} tells no calibration")
        try:
            async with asyncio.timeout(given.terms.seconds):
                result = await self._run(given)
        except TimeoutError:
            return not_simulated(given, f"it takes longer than {given.terms.seconds:g} s")
        except SolverError as error:
            if compiled is not None:
                return not_simulated(given, str(error))
            return GateVerdict(passed=False, simulated=False, reason=str(error))
        verdict = await asyncio.to_thread(self._judged, given, result)
        if compiled is None:
            return verdict
        backend = compiled.facts.backend
        reason = f"with the noise of {backend} {verdict.reason}"
        return verdict.model_copy(update={"noise_of": backend, "reason": reason})

    async def _run(self, given: GateInput) -> CircuitResult:
        compiled, calibration = given.compiled, None
        if compiled is not None and compiled.calibration is not None:
            calibration = await asyncio.to_thread(self._artefacts.get, compiled.calibration)
        circuit = given.circuit if compiled is None else compiled.isa
        qpy = await asyncio.to_thread(self._artefacts.get, circuit)
        return await self._simulator.run(qpy, given.spec, given.seed, calibration)

    def _judged(self, given: GateInput, result: CircuitResult) -> GateVerdict:
        if isinstance(given.workload, Optimise) and given.model is not None:
            model = load_model(self._artefacts.get(given.model))
            if reduction := kept_reduction(self._artefacts, given.reduction):
                model = smaller(model, reduction)
            return improves(model, result, given.terms.progress)
        if given.peak is not None:
            return peaked(result, given.peak)
        return GateVerdict(passed=True, simulated=True, reason="it runs")


def not_simulated(given: GateInput, why: str) -> GateVerdict:
    """The policy's word on a circuit that is too much for the simulator."""
    return GateVerdict(
        passed=given.terms.too_large == "pass", simulated=False, reason=f"not simulated: {why}"
    )


def improves(
    model: dimod.BinaryQuadraticModel, result: CircuitResult, wanted: float
) -> GateVerdict:
    """Whether samples are nearer to the best known assignment than random ones are."""
    bits, repeats = _samples(result)
    mean = float(np.average(energies(model, bits), weights=repeats))
    guessed = random_mean(model)
    starts = np.random.default_rng(0).integers(0, 2, (STARTS, model.num_variables), dtype=np.int8)
    best = float(energies(model, descend(model, np.vstack([starts, bits]))).min())
    span = guessed - best
    progress = (guessed - mean) / span if span > FLAT * max(1.0, abs(guessed)) else 0.0
    figures = {"progress": progress, "mean": mean, "random_mean": guessed, "best_known": best}
    return GateVerdict(
        passed=progress >= wanted,
        simulated=True,
        reason=f"its samples are {progress:.0%} of the way from guessing to the best known "
        f"assignment, the policy asks for {wanted:.0%}",
        measured={name: round(value, 6) for name, value in figures.items()},
    )


def random_mean(model: dimod.BinaryQuadraticModel) -> float:
    """The mean energy of all assignments."""
    spins = model.change_vartype(dimod.SPIN, inplace=False)
    return float(spins.offset)


def peaked(result: CircuitResult, wanted: float) -> GateVerdict:
    """Whether one outcome is as frequent as expected, in the register where that is the most."""
    share = max(max(counts.values()) / sum(counts.values()) for counts in result.counts.values())
    return GateVerdict(
        passed=share >= wanted,
        simulated=True,
        reason=f"its most frequent outcome has {share:.1%} of the shots, {wanted:.1%} is expected",
        measured={"peak": round(share, 6)},
    )


def _samples(result: CircuitResult) -> tuple[Bits, list[int]]:
    counts = result.counts.get(REGISTER) or next(iter(result.counts.values()))
    # Bit 0 stands rightmost, variable 0 comes first.
    rows = [[int(bit) for bit in reversed(key)] for key in counts]
    return np.array(rows, dtype=np.int8), list(counts.values())
