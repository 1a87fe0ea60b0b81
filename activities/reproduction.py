"""Makes a job again from its record, to see whether the same comes out."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from datetime import datetime

from pydantic import JsonValue

from activities.answering import Encode, compared, machine
from qsaga.core.contract import ArtefactRef, Contract, canonical_json, digest
from qsaga.core.errors import CompileError, InvalidRequest, ResultUnusable, SolverError
from qsaga.core.jobs import Workload
from qsaga.core.lineage import Check, Lineage, Reproduction
from qsaga.core.ports import (
    AnsatzBuilder,
    ArtefactStore,
    CircuitReader,
    CircuitResult,
    Recompiler,
)
from qsaga.core.records import JobRecord
from qsaga.core.reduction import Reducer, Reduction
from qsaga.core.results import Answer, Provenance, SampleAnswer
from qsaga.core.solvers import Distributions, Simulator
from qsaga.core.states import HARDWARE_RUNGS, Rung
from qsaga.core.steps import Encoded, EncodeInput
from qsaga.problems.polish import Polisher
from qsaga.problems.reduction import load_reduction
from qsaga.problems.verify import postprocessing, verify

GONE = "no longer in the artefact store"
NO_DEVICE = (
    "a device does not give the same counts twice: the kept ones are what the answer is made of"
)
TIMED = (
    "annealing takes as many sweeps as fit into its seconds, so its samples depend on the speed of "
    "the machine: the kept ones are what the answer is made of"
)


class _Scratch:
    """What is made again, for as long as it is compared: the record must not grow by it."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    def put(self, data: bytes, media: str) -> ArtefactRef:
        key = hashlib.sha256(data).hexdigest()
        self._blobs[key] = data
        return ArtefactRef(sha256=key, size=len(data), media=media)

    def get(self, ref: ArtefactRef) -> bytes:
        return self._blobs[ref.sha256]

    def delete(self, ref: ArtefactRef, before: datetime) -> bool:
        self._blobs.pop(ref.sha256, None)
        return True


class Reproducer:
    """Encodes, compiles, simulates and verifies again; submits and writes nothing.

    Args:
        artefacts: where the job's own are kept.
        builder: as for Encode.
        reader: as for Encode.
        recompiler: compiles from a kept calibration.
        simulator: the one of the simulator rung.
        polisher: as for Verify.
        software: package to version, of this process.
        distributions: as for Verify.
        reducer: as for Encode.
    """

    def __init__(
        self,
        artefacts: ArtefactStore,
        builder: AnsatzBuilder,
        reader: CircuitReader,
        recompiler: Recompiler,
        simulator: Simulator,
        polisher: Polisher,
        software: Mapping[str, str],
        distributions: Distributions,
        reducer: Reducer | None = None,
    ) -> None:
        self._distributions = distributions
        self._reducer = reducer
        self._artefacts, self._reader, self._builder = artefacts, reader, builder
        self._recompiler, self._simulator = recompiler, simulator
        self._polisher, self._software = polisher, dict(software)

    async def reproduce(self, record: JobRecord) -> Reproduction:
        """Compare everything that the record says was made with what is made now.

        Raises InvalidRequest if the job has not ended, has no answer, or its content was deleted.
        """
        request, result = record.request, record.result
        if record.forgotten is not None:
            raise InvalidRequest("job_id", f"{record.job_id}: its content was deleted")
        if request is None or result is None:
            raise InvalidRequest("job_id", f"{record.job_id} has not ended", "a job that ended")
        provenance, lineage = result.provenance, result.lineage
        if provenance is None or result.answer is None:
            raise InvalidRequest("job_id", f"{record.job_id} has no answer", "an answered job")
        scratch = _Scratch()
        before = lineage.reduction if lineage else None
        encoded = await Encode(scratch, self._builder, self._reader, self._reducer).encode(
            EncodeInput(
                workload=request.workload,
                circuit_wanted="circuit" in provenance.artefacts,
                # A job of before there was any is made again without.
                reduction=before.version if before else "",
            )
        )
        conditions = _conditions(lineage, encoded)
        checks = [
            _compared(
                "input",
                lineage.input_sha256 if lineage else None,
                encoded.input_sha256,
            ),
            *await self._encoding(provenance, encoded, scratch),
        ]
        if provenance.circuit is not None:
            check, transpiler = await self._compiling(provenance, lineage, encoded, scratch)
            checks.append(check)
            conditions.append(transpiler)
        checks.append(await self._running(provenance, encoded, scratch))
        reduction = await self._reduction(provenance)
        checks.append(
            await self._verifying(
                request.workload, provenance, result.answer, encoded, scratch, reduction
            )
        )
        conditions += [
            _compared(
                "postprocessing",
                lineage.postprocessing if lineage else None,
                postprocessing(request.workload, self._polisher, reduction),
            ),
            _versions("software", provenance.software, self._software),
            _versions("machine", lineage.machine if lineage else {}, machine()),
        ]
        told = [check.same for check in checks]
        return Reproduction(
            job_id=record.job_id,
            same=True in told and False not in told,
            checks=tuple(checks),
            conditions=tuple(conditions),
        )

    async def _encoding(
        self, provenance: Provenance, encoded: Encoded, scratch: _Scratch
    ) -> list[Check]:
        checks = []
        for what, again in (
            ("model", encoded.model),
            ("reduction", encoded.reduction),
            ("circuit", encoded.circuit),
        ):
            kept = provenance.artefacts.get(what)
            if kept is None or again is None:
                continue
            check = _compared(what, kept.sha256, again.sha256)
            if what == "circuit" and not check.same:
                check = await self._same_instructions(check, kept, scratch.get(again))
            checks.append(check)
        return checks

    async def _same_instructions(self, check: Check, kept: ArtefactRef, again: bytes) -> Check:
        """QPY names its writer and some gates anew each time; then the instructions tell."""
        before = await self._kept(kept)
        if before is None:
            return check.model_copy(update={"same": None, "note": GONE})
        note = "the bytes differ, so this is over the instructions"
        return _compared(check.what, self._reader.digest(before), self._reader.digest(again), note)

    async def _compiling(
        self,
        provenance: Provenance,
        lineage: Lineage | None,
        encoded: Encoded,
        scratch: _Scratch,
    ) -> tuple[Check, Check]:
        """The compiled circuit, and the options and versions that it was compiled with."""
        what, facts = "compiled circuit", provenance.circuit
        assert facts is not None  # noqa: S101 - asked by the caller
        nothing = Check(what=what, recorded=facts.sha256)
        unknown = Check(what="transpiler", recorded=canonical_json(facts.transpiler))
        kept = lineage.calibration if lineage else None
        snapshot = await self._kept(kept) if kept else None
        if encoded.circuit is None or snapshot is None:
            note = f"the calibration is {GONE}" if kept else "no calibration was kept"
            return nothing.model_copy(update={"note": note}), unknown
        try:
            compiled = await self._recompiler.compile(
                scratch.get(encoded.circuit),
                snapshot,
                facts.seed_transpiler,
                facts.optimization_level,
                encoded.spec,
                facts.bound_from is not None,
            )
        except CompileError as error:
            return nothing.model_copy(update={"same": False, "note": str(error)}), unknown
        again = compiled.facts
        note = f"seed {again.seed_transpiler}, calibration {again.calibration_id or 'without id'}"
        return (
            _compared(what, facts.sha256, again.sha256, note),
            _versions("transpiler", _texts(facts.transpiler), _texts(again.transpiler)),
        )

    async def _running(self, provenance: Provenance, encoded: Encoded, scratch: _Scratch) -> Check:
        kept = provenance.artefacts.get("result")
        nothing = Check(what="result", recorded=kept.sha256 if kept else None)
        if provenance.source in HARDWARE_RUNGS:
            return nothing.model_copy(update={"note": NO_DEVICE})
        if provenance.source is Rung.ANNEALING:
            return nothing.model_copy(update={"note": TIMED})
        if provenance.source is not Rung.SIMULATOR:
            note = f"the answer of the rung {provenance.source.value} is not made again"
            return nothing.model_copy(update={"note": note})
        before = await self._kept(kept) if kept else None
        if encoded.circuit is None or before is None or provenance.seed is None:
            return nothing.model_copy(update={"note": GONE})
        try:
            found = await self._simulator.run(
                scratch.get(encoded.circuit), encoded.spec, provenance.seed
            )
        except SolverError as error:
            return nothing.model_copy(update={"same": False, "note": str(error)})
        # Both through today's contract, so that a field added since tells nothing apart.
        recorded = CircuitResult.model_validate_json(before)
        return _compared(
            "result", _digest(recorded), _digest(found), f"simulated with seed {provenance.seed}"
        )

    async def _verifying(
        self,
        workload: Workload,
        provenance: Provenance,
        answer: Answer,
        encoded: Encoded,
        scratch: _Scratch,
        reduction: Reduction | None,
    ) -> Check:
        kept = provenance.artefacts.get("result")
        raw = await self._kept(kept) if kept else None
        nothing = Check(what="answer", recorded=_digest(answer))
        if kept is None or raw is None:
            return nothing.model_copy(update={"note": f"the result is {GONE}"})
        model = scratch.get(encoded.model) if encoded.model else None
        try:
            again, _ = await asyncio.to_thread(
                verify, workload, model, raw, kept.media, self._polisher, reduction
            )
        except ResultUnusable as error:
            return nothing.model_copy(update={"same": False, "note": str(error)})
        if isinstance(answer, SampleAnswer) and answer.distance is not None:
            again = await asyncio.to_thread(
                compared, again, workload, Rung.HARDWARE, self._distributions
            )
        return _compared("answer", _digest(answer), _digest(again), "from the kept result")

    async def _reduction(self, provenance: Provenance) -> Reduction | None:
        """That of the circuit behind the result, which may be another job's."""
        ref = provenance.artefacts.get("reduction")
        data = await self._kept(ref) if ref else None
        return load_reduction(data) if data else None

    async def _kept(self, ref: ArtefactRef) -> bytes | None:
        try:
            return await asyncio.to_thread(self._artefacts.get, ref)
        except (KeyError, ValueError):  # deleted, or damaged
            return None


def _conditions(lineage: Lineage | None, encoded: Encoded) -> list[Check]:
    told = [
        _compared("formulation", lineage.formulation if lineage else None, encoded.formulation),
        _compared(
            "preprocessing", lineage.preprocessing if lineage else None, encoded.preprocessing
        ),
    ]
    if lineage is not None and lineage.reduction is not None:
        again = encoded.reduced.model_dump(mode="json") if encoded.reduced else {}
        before = lineage.reduction.model_dump(mode="json")
        told.append(_versions("reduction", _texts(before), _texts(again)))
    return told


def _compared(what: str, recorded: str | None, again: str, note: str = "") -> Check:
    if recorded is None:
        return Check(what=what, again=again, note="not recorded")
    return Check(what=what, recorded=recorded, again=again, same=recorded == again, note=note)


def _versions(what: str, recorded: Mapping[str, str], again: Mapping[str, str]) -> Check:
    """Two sets of facts; the note names those that differ."""
    if not recorded:
        return Check(what=what, again=canonical_json(dict(again)), note="not recorded")
    names = sorted(
        name for name in recorded.keys() | again.keys() if recorded.get(name) != again.get(name)
    )
    told = [
        f"{name}: {recorded.get(name, 'none')} then, {again.get(name, 'none')} now"
        for name in names
    ]
    return Check(
        what=what,
        recorded=canonical_json(dict(recorded)),
        again=canonical_json(dict(again)),
        same=not names,
        note="; ".join(told),
    )


def _texts(options: Mapping[str, JsonValue]) -> dict[str, str]:
    return {name: canonical_json(value) for name, value in options.items()}


def _digest(content: Contract) -> str:
    return digest(canonical_json(content.model_dump(mode="json")))
