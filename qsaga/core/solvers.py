"""What qsaga needs of solvers and simulators on its own machines; see ``qsaga.core.ports``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from qsaga.core.confidence import Proof
from qsaga.core.jobs import Circuit
from qsaga.core.ports import CircuitResult, RunSpec


class Simulator(Protocol):
    """Runs circuits on this machine."""

    name: str

    async def run(
        self, qpy: bytes, spec: RunSpec, seed: int, calibration: bytes | None = None
    ) -> CircuitResult:
        """Simulate, without noise unless a calibration is given.

        ``calibration`` is that of the backend that the circuit was compiled for, as
        ``Compiled.calibration``; with it only samples are taken. Raises SolverError when the
        circuit is too large, or the noise cannot be read.
        """


class Distributions(Protocol):
    """Knows what circuits would show on a device without noise."""

    def of(self, circuit: Circuit) -> Mapping[str, Mapping[str, float]] | None:
        """Probabilities of the outcomes of each register, of those that are not 0.

        None where the circuit is too large for a step that every answer waits for, measures before
        its end, resets or has conditions. Blocking; called in a thread. Raises SolverError for
        what cannot be computed.
        """


class ClassicalSolver(Protocol):
    """Minimises a binary quadratic model on this machine."""

    name: str

    def solve(
        self,
        bqm: bytes,
        seconds: float,
        seed: int,
        *,
        start: bytes | None = None,
        better: Callable[[bytes], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> bytes:
        """Use ``seconds`` of time and return by itself.

        Blocking; called in a thread. Returns a dimod SampleSet as the JSON text of
        ``SampleSet.to_serializable()``, best first, its ``info`` holding what a reader may want to
        know (reads, sweeps, schedule).

        Args:
            bqm: the model in dimod's file format.
            seconds: of time.
            seed: of everything random.
            start: a sample set that was found before; the answer is no worse.
            better: given the best samples so far, now and then when they have become better.
            should_stop: asked now and then; True ends the work early.
        """


@dataclass(frozen=True)
class Searched:
    """What a search for the optimum of a binary quadratic model came to.

    ``samples`` is the JSON text of a dimod SampleSet, best first, None if no assignment was found;
    its ``info`` holds the proof under ``proof``. ``detail`` is what a reader may want to know.
    """

    samples: bytes | None
    proof: Proof
    detail: Mapping[str, Any]


class ExactSolver(Protocol):
    """Looks for the optimum of a binary quadratic model and for a proof that it is one."""

    name: str

    def solve(
        self,
        bqm: bytes,
        seconds: float,
        seed: int,
        *,
        start: bytes | None = None,
        better: Callable[[bytes], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Searched:
        """Return once it is proven, or after ``seconds`` with what is found and shown by then.

        Blocking; called in a thread. The arguments are those of ``ClassicalSolver.solve``. Raises
        SolverError for a model that it does not take, saying by how much.
        """


class Incumbents(Protocol):
    """The best samples so far of solvers at work, under a key: what outlives their workers."""

    def begin(self, key: str) -> bytes | None:
        """What is kept, as ``get``; from now on ``put`` keeps more, until ``drop``."""

    def put(self, key: str, samples: bytes) -> None:
        """Replace what is kept; a reader sees all of it or what was there before.

        Nothing happens after ``drop``: a solver may hear late that its job is closed.
        """

    def get(self, key: str) -> bytes | None:
        """What is kept; None if nothing is."""

    def drop(self, key: str) -> None:
        """Keep nothing any more; safe to repeat."""


class LearnedEstimator(Protocol):
    """A user's own way of answering without running anything: a model learned from the past.

    ``name`` says which, with its version: it becomes part of the answer's provenance.
    """

    name: str

    def estimate(self, workload: Mapping[str, Any], seconds: float) -> Mapping[str, Any]:
        """Answer the JSON of a workload as the JSON of a ``SuppliedAnswer``, within ``seconds``.

        Blocking; called in a thread. Any error is a rung that failed.
        """
