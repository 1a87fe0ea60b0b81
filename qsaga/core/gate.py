"""The activity contract of the simulator gate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer
from temporalio import activity

from qsaga.core.contract import ArtefactRef, Contract
from qsaga.core.facts import GateTerms
from qsaga.core.jobs import Workload
from qsaga.core.ports import RunSpec
from qsaga.core.shots import without_silence
from qsaga.core.steps import CompiledCircuit


class GateInput(Contract):
    """A circuit that hardware is to run, and what it has to show before.

    ``peak`` is the least share of shots that its most frequent outcome has to have; None is any.
    ``reduction`` is what was taken out of the model before the circuit was built.
    ``compiled`` is the circuit for the backend whose noise it is simulated with; None is no noise.
    """

    workload: Workload
    circuit: ArtefactRef
    model: ArtefactRef | None
    spec: RunSpec
    seed: int
    terms: GateTerms
    peak: float | None = None
    reduction: ArtefactRef | None = None
    compiled: CompiledCircuit | None = None

    @model_serializer(mode="wrap")
    def _told(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_silence(handler(self), "compiled")


class GateVerdict(Contract):
    """Whether a circuit may go to hardware.

    ``simulated`` is False where it was too large or took too long; ``measured`` has the figures
    that were compared; ``noise_of`` is the backend whose noise was simulated, None where none was.
    ``classical_seconds`` is what it took.
    """

    passed: bool
    simulated: bool
    reason: str
    measured: dict[str, float] = {}
    noise_of: str | None = None
    classical_seconds: float = 0.0

    @model_serializer(mode="wrap")
    def _told(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_silence(handler(self), "noise_of")


class GateStep(ABC):
    """Look at a circuit on a simulator before it may cost money."""

    @activity.defn(name="gate")
    @abstractmethod
    async def gate(self, given: GateInput) -> GateVerdict:
        """A circuit that the simulator cannot run does not pass."""
