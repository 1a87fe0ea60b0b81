"""The classical half of a variational loop: which points are measured next."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping

from temporalio import activity

from qsaga.core.errors import InvalidRequest
from qsaga.core.jobs import SessionTerms
from qsaga.core.loop_steps import Asking, AskInput, AskStep, BoundPoint
from qsaga.core.loops import LoopRequest
from qsaga.core.optimisers import MAX_POINTS, Ansatz, AnsatzReader, Asked, Optimiser, Setup
from qsaga.core.ports import QuantumProvider

SPREAD = math.pi / 10
"""Radians to either side of zero from which a search begins where the request says nothing."""

CONFIRMED = 2
"""Points that are measured anew at the end."""


class Ask(AskStep):
    """Tells the optimiser what was measured and binds the circuit to what it asks.

    Args:
        reader: of circuits with parameters.
        optimiser: the one of that name; raises InvalidRequest.
        provider: whose sessions the jobs may share; None is no hardware.
        software: versions of the packages that take part.
    """

    def __init__(
        self,
        reader: AnsatzReader,
        optimiser: Callable[[str], Optimiser],
        provider: QuantumProvider | None,
        software: Mapping[str, str],
    ) -> None:
        self._reader, self._optimiser = reader, optimiser
        self._provider, self._software = provider, software

    @activity.defn(name="ask_tell")
    async def ask_tell(self, given: AskInput) -> Asking:
        """In a thread: reading a large circuit takes seconds."""
        return await asyncio.to_thread(self._ask_tell, given)

    def _ask_tell(self, given: AskInput) -> Asking:
        request = given.request
        optimiser, ansatz = self._optimiser(request.optimiser.name), self._reader.read(request)
        setup = setup_of(request, ansatz)
        asked = _asked(optimiser, setup, given)
        if len(asked.points) > MAX_POINTS:
            raise InvalidRequest(
                "optimiser", f"{len(asked.points)} points an iteration", f"at most {MAX_POINTS}"
            )
        return Asking(
            state=asked.state,
            points=tuple(
                BoundPoint(parameters=point, circuit=ansatz.bound(point)) for point in asked.points
            ),
            purpose=asked.purpose,
            parameters=ansatz.names,
            software={**self._software, "optimiser": optimiser.version},
            session=self._session(request),
            evaluations=optimiser.evaluations(setup) + CONFIRMED,
        )

    def _session(self, request: LoopRequest) -> SessionTerms | None:
        if request.session is not None or not request.share_session or self._provider is None:
            return request.session
        own = request.own_session()
        return own if own.mode in self._provider.capabilities.session_modes else None


def setup_of(request: LoopRequest, ansatz: Ansatz) -> Setup:
    """What stays the same for the search. Raises InvalidRequest for a start that does not fit."""
    names, spec = ansatz.names, request.optimiser
    if request.initial and len(request.initial) != len(names):
        raise InvalidRequest(
            "initial", f"{len(request.initial)} values", f"one for each of {', '.join(names)}"
        )
    draw = random.Random(request.seed)  # noqa: S311 - a start of a search, no secret
    return Setup(
        initial=request.initial or tuple(draw.uniform(-SPREAD, SPREAD) for _ in names),
        seed=request.seed,
        iterations=spec.iterations,
        spectrum=ansatz.spectrum(),
        options=spec.options,
    )


def _asked(optimiser: Optimiser, setup: Setup, given: AskInput) -> Asked:
    if given.confirm:
        end = tuple(optimiser.estimate(setup, given.state, given.values))
        return Asked(
            state=given.state, points=tuple(dict.fromkeys((end, given.best))), purpose="confirm"
        )
    if given.state is None:
        return optimiser.begin(setup)
    return optimiser.tell(setup, given.state, given.values)
