"""A job is made again from its record: by the real client, emulator, compiler and simulator."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.answering import Encode, Simulate, Solve, Verify
from activities.hardware import CALIBRATION, Collector, Compile
from activities.reproduction import Reproducer
from adapters.aer import AerSimulator
from adapters.annealing import NealSolver, steepest_descent
from adapters.artefacts import FolderArtefacts
from adapters.cache import FolderCache
from adapters.circuits import QiskitCircuitReader
from adapters.ibm import IBMProvider, IBMRecompiler
from adapters.ideal import ExactDistributions
from adapters.incumbents import FolderIncumbents
from adapters.qaoa import QaoaBuilder
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.errors import CompileError, InvalidRequest
from qsaga.core.jobs import JobRequest
from qsaga.core.lineage import Check, Reproduction, lineage_of
from qsaga.core.ports import RunSpec
from qsaga.core.records import JobRecord
from qsaga.core.results import JobResult, Provenance
from qsaga.core.states import JobState, Rung
from qsaga.core.steps import (
    CompileInput,
    Encoded,
    EncodeInput,
    Raw,
    SimulateInput,
    SolveInput,
    VerifyInput,
)
from tests.adapters.ibm_wire import BACKEND, ghz, key, packed, settings

pytestmark = pytest.mark.timeout(120)
SOFTWARE = {"qiskit": "2.6.2", "dimod": "0.12.23"}
RING = [[f"n{i}", f"n{(i + 1) % 8}"] for i in range(8)] + [["n0", "n4"], ["n2", "n6"]]
GATES = """OPENQASM 3.0;
include "stdgates.inc";
gate twist(a) x, y { h x; rz(a) y; cx x, y; }
qubit[3] q;
bit[3] c;
twist(0.3) q[0], q[1];
twist(0.4) q[1], q[2];
c = measure q;
"""
ROOT = Path(__file__).parents[2]
COMPILE = """
import asyncio, hashlib, sys
from pathlib import Path
from adapters.ibm import IBMRecompiler
from qsaga.core.ports import RunSpec
qpy, calibration = (Path(name).read_bytes() for name in sys.argv[1:])
spec = RunSpec(verb="sample", shots=100)
found = asyncio.run(IBMRecompiler().compile(qpy, calibration, 11, 3, spec))
print(found.facts.sha256, hashlib.sha256(found.qpy).hexdigest())
"""


@pytest.fixture(scope="module")
def provider(ibm_emulator_process: EmulatorProcess) -> IBMProvider:
    return IBMProvider(settings(ibm_emulator_process.url))


@dataclass
class Bench:
    """The steps of a job, called one after the other, and what makes it again."""

    artefacts: FolderArtefacts
    folder: Path
    provider: IBMProvider
    cache: FolderCache | None = None

    def reproducer(self, software: dict[str, str] | None = None) -> Reproducer:
        return Reproducer(
            self.artefacts,
            QaoaBuilder(),
            QiskitCircuitReader(),
            IBMRecompiler(),
            AerSimulator(),
            steepest_descent,
            software or SOFTWARE,
            ExactDistributions(),
        )

    async def hardware(self, request: JobRequest, encoded: Encoded) -> Raw:
        assert encoded.circuit is not None
        compiled = await Compile(self.artefacts, self.provider, self.cache).compile(
            CompileInput(
                circuit=encoded.circuit,
                backend=BACKEND,
                seed=request.seed,
                spec=encoded.spec,
                tenant=request.tenant,
            )
        )
        job = await self.provider.submit(
            self.artefacts.get(compiled.isa),
            compiled.facts.layout,
            BACKEND,
            encoded.spec,
            key("qsaga:reproduce"),
        )
        for _ in range(400):
            job = await self.provider.status(job.provider_job_id)
            if job.state.ended:
                break
            await asyncio.sleep(0.05)
        return Raw(
            rung=Rung.HARDWARE,
            provider="ibm",
            result=await Collector(self.artefacts, self.provider).fetch(job.provider_job_id),
            backend=BACKEND,
            circuit=compiled.facts,
            isa_circuit=compiled.isa,
            calibration=compiled.calibration,
        )

    async def raw(self, request: JobRequest, encoded: Encoded, rung: Rung) -> Raw:
        match rung:
            case Rung.HARDWARE:
                return await self.hardware(request, encoded)
            case Rung.SIMULATOR:
                assert encoded.circuit is not None
                return await Simulate(self.artefacts, AerSimulator()).simulate(
                    SimulateInput(circuit=encoded.circuit, spec=encoded.spec, seed=request.seed)
                )
            case Rung.ANNEALING:
                assert encoded.model is not None
                solve = Solve(self.artefacts, NealSolver(), FolderIncumbents(self.folder)).solve
                given = SolveInput(model=encoded.model, seconds=0.1, seed=request.seed)
                return await ActivityEnvironment().run(solve, given)

    async def record(self, workload: dict[str, Any], rung: Rung, **changes: Any) -> JobRecord:
        request = JobRequest.model_validate({"key": "k", "workload": workload} | changes)
        encoded = await Encode(self.artefacts, QaoaBuilder(), QiskitCircuitReader()).encode(
            EncodeInput(workload=request.workload, circuit_wanted=True, max_seconds=60)
        )
        raw = await self.raw(request, encoded, rung)
        verify = Verify(self.artefacts, steepest_descent, SOFTWARE, ExactDistributions()).verify
        verified = await verify(
            VerifyInput(workload=request.workload, model=encoded.model, raw=raw)
        )
        kept = {
            "model": encoded.model,
            "circuit": encoded.circuit,
            "isa_circuit": raw.isa_circuit,
            "result": raw.result,
        }
        result = JobResult(
            job_id=request.job_id,
            tenant=request.tenant,
            key=request.key,
            payload_hash=request.payload_hash(),
            state=JobState.COMPLETED,
            answer=verified.answer,
            provenance=Provenance(
                source=rung,
                provider=raw.provider,
                circuit=raw.circuit,
                seed=request.seed,
                software=verified.software,
                artefacts={name: ref for name, ref in kept.items() if ref is not None},
            ),
            lineage=lineage_of(request, encoded=encoded, raw=raw, verified=verified, raws=(raw,)),
        )
        return JobRecord(
            job_id=request.job_id,
            payload_hash=request.payload_hash(),
            opened=datetime(2026, 1, 1, tzinfo=UTC),
            request=request,
            result=JobResult.model_validate_json(result.model_dump_json()),
        )

    def blobs(self) -> set[Path]:
        return {path for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
def bench(tmp_path: Path, provider: IBMProvider, ibm_emulator: EmulatorProcess) -> Bench:
    ibm_emulator.control.set_queue(length=0, seconds_per_job=0.0)
    ibm_emulator.control.set_execution(overhead_seconds=0.0, seconds_per_shot=0.0)
    return Bench(FolderArtefacts(tmp_path / "kept"), tmp_path / "kept", provider)


def maxcut() -> dict[str, Any]:
    return {
        "kind": "optimise",
        "problem": {"name": "maxcut", "data": {"edges": RING}},
        "shots": 300,
    }


def circuit(source: str = GATES) -> dict[str, Any]:
    return {"kind": "sample", "circuit": {"source": source}, "shots": 200}


def told(found: Reproduction) -> dict[str, bool | None]:
    return {check.what: check.same for check in found.checks}


def check(found: Reproduction, what: str) -> Check:
    return next(one for one in (*found.checks, *found.conditions) if one.what == what)


async def test_a_hardware_job_is_compiled_to_the_same_circuit_without_the_service(
    bench: Bench, ibm_emulator: EmulatorProcess
) -> None:
    record = await bench.record(maxcut(), Rung.HARDWARE)
    assert record.result is not None and record.result.lineage is not None
    lineage, facts = record.result.lineage, record.result.provenance.circuit  # type: ignore[union-attr]
    assert facts is not None
    assert lineage.calibration is not None and lineage.calibration.media == CALIBRATION
    snapshot = json.loads(bench.artefacts.get(lineage.calibration))
    assert snapshot["backend"] == BACKEND
    assert snapshot["calibration_id"] == facts.calibration_id
    assert (lineage.measurements, lineage.qubits, lineage.variables) == (8, 8, 8)
    assert lineage.payload_bytes == record.result.provenance.artefacts["isa_circuit"].size  # type: ignore[union-attr]
    assert lineage.transpiler["optimization_level"] == 3
    assert lineage.transpiler["translation_method"] == "ibm_dynamic_circuits"
    assert "VF2Layout" in lineage.transpiler["layout_passes"]  # type: ignore[operator]
    assert lineage.transpiler["qiskit-ibm-runtime"] == "0.51.0"

    before, blobs = ibm_emulator.control.requests(), bench.blobs()
    found = await bench.reproducer().reproduce(record)
    assert told(found) == {
        "input": True,
        "model": True,
        "circuit": True,
        "compiled circuit": True,
        "result": None,
        "answer": True,
    }
    assert found.same
    assert all(one.same for one in found.conditions), found.conditions
    assert "device" in check(found, "result").note
    after = ibm_emulator.control.requests()
    assert {k for k in after if after[k] != before.get(k) and "control" not in k} == set()
    assert bench.blobs() == blobs, "the record has grown"


async def test_a_circuit_that_was_bound_from_the_cache_is_made_again_without_it(
    bench: Bench, tmp_path: Path
) -> None:
    bench.cache = FolderCache(tmp_path / "cache")
    for number, gamma in enumerate((0.3, 0.7)):
        algorithm = {"depth": 1, "angles": "given", "gammas": [gamma], "betas": [-0.4]}
        record = await bench.record(maxcut() | {"algorithm": algorithm}, Rung.HARDWARE)
        assert record.result is not None and record.result.provenance is not None
        facts = record.result.provenance.circuit
        assert facts is not None and facts.bound_from is not None
        assert facts.bound_from.from_cache is bool(number)
        bench.cache.drop("default" if number else "stranger")
        found = await bench.reproducer().reproduce(record)
        assert told(found)["compiled circuit"] is True
        assert found.same
        assert check(found, "transpiler").same


async def test_counts_of_a_simulator_are_the_same(bench: Bench) -> None:
    found = await bench.reproducer().reproduce(await bench.record(maxcut(), Rung.SIMULATOR))
    result = check(found, "result")
    assert found.same and result.same
    assert result.recorded == result.again
    assert "seed 7" in result.note
    other = await bench.record(maxcut(), Rung.SIMULATOR)
    assert other.result is not None and other.result.provenance is not None
    forged = other.result.provenance.model_copy(update={"seed": 8})
    update = {"result": other.result.model_copy(update={"provenance": forged})}
    wrong = await bench.reproducer().reproduce(other.model_copy(update=update))
    assert check(wrong, "result").same is False
    assert not wrong.same


async def test_expectation_values_are_the_same(bench: Bench) -> None:
    workload = {
        "kind": "estimate",
        "circuit": {
            "source": GATES.replace("bit[3] c;\n", "").replace("c = measure q;\n", "h q[0];\n")
        },
        "observables": [{"ZZI": 1.0}, {"XXX": 0.5, "IIZ": 2.0}],
    }
    found = await bench.reproducer().reproduce(await bench.record(workload, Rung.SIMULATOR))
    assert found.same and check(found, "result").same and check(found, "answer").same


async def test_annealing_is_not_claimed_to_give_the_same_samples(bench: Bench) -> None:
    found = await bench.reproducer().reproduce(await bench.record(maxcut(), Rung.ANNEALING))
    assert check(found, "result").same is None
    assert "sweeps" in check(found, "result").note
    assert check(found, "answer").same and found.same


async def test_a_circuit_with_gates_of_its_own_is_compared_by_its_instructions(
    bench: Bench,
) -> None:
    record = await bench.record(circuit(), Rung.HARDWARE)
    found = await bench.reproducer().reproduce(record)
    assert found.same and check(found, "circuit").same and check(found, "compiled circuit").same
    assert "instructions" in check(found, "circuit").note
    assert record.request is not None
    other = JobRequest.model_validate(
        {"key": "k", "workload": circuit(GATES.replace("0.4", "0.5"))}
    )
    changed = await bench.reproducer().reproduce(record.model_copy(update={"request": other}))
    failed = {what for what, same in told(changed).items() if same is False}
    assert failed == {"input", "circuit", "compiled circuit"}
    assert not changed.same


async def test_versions_that_differ_are_named(bench: Bench) -> None:
    record = await bench.record(maxcut(), Rung.SIMULATOR)
    now = {"qiskit": "9.0", "dimod": "0.12.23", "new": "1"}
    found = await bench.reproducer(now).reproduce(record)
    software = check(found, "software")
    assert software.same is False
    assert software.note == "new: none then, 1 now; qiskit: 2.6.2 then, 9.0 now"
    assert found.same, "the circuits and counts are the same all the same"


async def test_what_was_deleted_is_said_to_be_gone(bench: Bench) -> None:
    record = await bench.record(maxcut(), Rung.HARDWARE)
    for path in bench.blobs():
        path.unlink()
    found = await bench.reproducer().reproduce(record)
    assert check(found, "compiled circuit").same is None
    assert "no longer" in check(found, "compiled circuit").note
    assert "no longer" in check(found, "answer").note
    assert check(found, "model").same and check(found, "circuit").same


async def test_a_damaged_calibration_is_told(bench: Bench) -> None:
    with pytest.raises(CompileError, match="calibration data"):
        await IBMRecompiler().compile(
            packed(ghz()), b'{"backend": "x"}', 7, 3, RunSpec(verb="sample", shots=1)
        )


async def test_jobs_without_an_answer_are_refused(bench: Bench) -> None:
    record = await bench.record(maxcut(), Rung.ANNEALING)
    assert record.result is not None
    unanswered = record.result.model_copy(update={"answer": None, "provenance": None})
    for update, says in (
        ({"result": None}, "has not ended"),
        ({"result": unanswered}, "has no answer"),
        ({"forgotten": record.opened}, "deleted"),
    ):
        with pytest.raises(InvalidRequest, match=says):
            await bench.reproducer().reproduce(record.model_copy(update=update))


async def test_compiling_is_the_same_in_every_process(bench: Bench, tmp_path: Path) -> None:
    rng = [[f"n{i}", f"n{(i * 7 + k) % 20}"] for i in range(20) for k in (1, 5)]
    edges = list({frozenset(edge): edge for edge in rng if edge[0] != edge[1]}.values())
    workload = maxcut() | {"problem": {"name": "maxcut", "data": {"edges": edges}}}
    request = JobRequest.model_validate({"key": "k", "workload": workload})
    encoded = await Encode(bench.artefacts, QaoaBuilder(), QiskitCircuitReader()).encode(
        EncodeInput(workload=request.workload, circuit_wanted=True)
    )
    assert encoded.circuit is not None
    qpy = bench.artefacts.get(encoded.circuit)
    spec = RunSpec(verb="sample", shots=100)
    compiled = await bench.provider.compile(qpy, BACKEND, 11, spec)
    assert compiled.calibration is not None
    (tmp_path / "qpy").write_bytes(qpy)
    (tmp_path / "calibration").write_bytes(compiled.calibration)
    expected = f"{compiled.facts.sha256} {hashlib.sha256(compiled.qpy).hexdigest()}"
    for seed in ("1", "2", "3"):
        done = subprocess.run(
            [sys.executable, "-c", COMPILE, str(tmp_path / "qpy"), str(tmp_path / "calibration")],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "TZ": "Asia/Tokyo"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected
    other = await bench.provider.compile(qpy, BACKEND, 12, spec)
    assert other.facts.sha256 != compiled.facts.sha256, "the seed takes part"


async def test_the_kept_calibration_is_that_of_the_compilation_and_is_kept_once(
    bench: Bench,
) -> None:
    spec = RunSpec(verb="sample", shots=1)
    first = await bench.provider.compile(packed(ghz()), BACKEND, 7, spec)
    assert first.calibration is not None
    assert json.loads(first.calibration)["calibration_id"] == first.facts.calibration_id
    known = bench.provider._backends._known[BACKEND]
    bench.provider._backends._known[BACKEND] = replace(known, calibration_id="older")
    again = await bench.provider.compile(packed(ghz(4)), BACKEND, 7, spec)
    assert again.calibration is not None
    assert bench.provider._backends._known[BACKEND] is not known, "asked for anew"
    kept = [bench.artefacts.put(one, CALIBRATION) for one in (first.calibration, again.calibration)]
    assert kept[0] == kept[1]
    assert len(bench.blobs()) == 1
