"""Runs one job on Aer. Imported only in simulator processes: it loads all of Qiskit."""

from __future__ import annotations

import json
import math
import traceback
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

import numpy as np
from ibm_quantum_schemas.common import CompressedTensorModel
from ibm_quantum_schemas.executor.version_2_0 import (
    ItemMetadataModel,
    MetadataModel,
    QuantumProgramResultItemModel,
    QuantumProgramResultModel,
)
from qiskit.primitives import BackendEstimatorV2, PrimitiveResult
from qiskit.primitives.containers import DataBin, SamplerPubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_ibm_runtime import RuntimeDecoder, RuntimeEncoder
from qiskit_ibm_runtime.execution_span import DoubleSliceSpan, ExecutionSpans
from qiskit_ibm_runtime.fake_provider.executor.broadcast_sample import broadcast_sample
from qiskit_ibm_runtime.quantum_program import QuantumProgram
from qiskit_ibm_runtime.quantum_program.converters.converters_2_0 import passthrough_data_to_2_0
from qiskit_ibm_runtime.quantum_program.params_converters import QUANTUM_PROGRAM_PARAMS_CONVERTERS
from samplomatic.quantum_program import SamplexItem

from .device import Device, Limits, Rejected, active_qubits, relabelled
from .mitigated import Mitigated, checked, unsuppressed
from .sampling import sample

_DEFAULT_SHOTS = 4096
_SEEDS = 2**31 - 1
_PLAIN = {"version": 2, "resilience": {}, "dynamical_decoupling": {"enable": False}}
"""Metadata of an estimator job that says nothing about noise."""


def simulate(request: dict[str, Any]) -> dict[str, Any]:
    """Run a job.

    Args:
        request: ``program``, ``params`` (JSON text as received), ``configuration`` and
            ``properties`` (paths of the calibration's files), ``noise``, ``seed``,
            ``max_active_qubits``, ``max_active_qubits_full``, ``started`` and ``due`` (virtual
            epoch seconds).

    Returns:
        ``{"ok": True, "result": <JSON text>}`` or ``{"ok": False, "reason", "code"}``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = _PROGRAMS[request["program"]]
            return {"ok": True, "result": run(_device(request), request)}
    except Rejected as rejected:
        return {"ok": False, "reason": str(rejected), "code": rejected.code}
    except Exception as error:  # noqa: BLE001 - whatever a user's circuit does ends its own job
        traceback.print_exc()
        reason = f"The input could not be run: {type(error).__name__}: {error}"
        return {"ok": False, "reason": reason[:2000], "code": 1000}


def _device(request: dict[str, Any]) -> Device:
    return _loaded(request["configuration"], request["properties"])


@lru_cache(maxsize=8)
def _loaded(configuration: str, properties: str) -> Device:
    return Device(configuration, properties)


def _limits(request: dict[str, Any]) -> Limits:
    return Limits(request["noise"], request["max_active_qubits"], request["max_active_qubits_full"])


def _params(request: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The PUBs and all parameters of a primitive's job, its options checked."""
    try:
        params = json.loads(request["params"], cls=RuntimeDecoder)
        pubs = list(params["pubs"])
    except Exception as error:
        raise Rejected(f"The PUBs could not be read: {error}", 1518) from error
    checked(request["program"], params)
    return pubs, params


def _sampler(device: Device, request: dict[str, Any]) -> str:
    raw, params = _params(request)
    options = params.get("options") or {}
    meas_type = (options.get("execution") or {}).get("meas_type", "classified")
    if meas_type != "classified":
        raise Rejected(f"Measurement type {meas_type!r} is not emulated.")
    default = options.get("default_shots") or _DEFAULT_SHOTS
    results = []
    for place, item in enumerate(raw):
        parts = item if isinstance(item, list) else [item]
        pub = SamplerPub.coerce(tuple(parts), default)
        device.check(pub.circuit)
        values = pub.parameter_values.as_array(pub.circuit.parameters)
        seed = _seed(request, place)
        bits = sample(
            device, pub.circuit, values, shots=pub.shots, seed=seed, limits=_limits(request)
        )
        data = DataBin(**bits, shape=pub.shape)
        metadata = {"circuit_metadata": pub.circuit.metadata or {}}
        results.append(SamplerPubResult(data, metadata))
    spans = ExecutionSpans([_span(request, results)]) if results else ExecutionSpans([])
    metadata = {"execution": {"execution_spans": spans}, "version": 2} | unsuppressed(options)
    return json.dumps(PrimitiveResult(results, metadata), cls=RuntimeEncoder)


def _span(request: dict[str, Any], results: list[SamplerPubResult]) -> DoubleSliceSpan:
    slices = {}
    for place, result in enumerate(results):
        shots = next(iter(result.data.values())).num_shots if len(result.data) else 0
        shape = (*result.data.shape, shots)
        slices[place] = (shape, slice(0, math.prod(result.data.shape)), slice(0, shots))
    start, stop = (datetime.fromtimestamp(request[key], UTC) for key in ("started", "due"))
    return DoubleSliceSpan(start, stop, slices)


def _estimator(device: Device, request: dict[str, Any]) -> str:
    raw, params = _params(request)
    options = params.get("options") or {}
    mitigated = Mitigated(params) if Mitigated.wanted(params) else None
    results = []
    for place, item in enumerate(raw):
        parts = [*item, None, None][:4]
        precision = float(parts[3] or _precision(options))
        pub = EstimatorPub.coerce((*parts[:3], precision))
        device.check(pub.circuit)
        active = sorted({*active_qubits(pub.circuit), *_support(pub.observables)}) or [0]
        small = EstimatorPub(
            relabelled(pub.circuit, active),
            _restricted(pub.observables, active),
            pub.parameter_values,
            precision,
        )
        if mitigated is not None:
            run = partial(_items, device, request, places=active)
            results.append(mitigated.result(small, run, _seed(request, place)))
            continue
        shots = math.ceil(1 / precision**2)
        backend = device.simulator(active, _limits(request), shots)
        estimator = BackendEstimatorV2(
            backend=backend, options={"seed_simulator": _seed(request, place)}
        )
        result = estimator.run([small]).result()[0]
        result.metadata.update(
            shots=shots, target_precision=precision, circuit_metadata=pub.circuit.metadata or {}
        )
        results.append(result)
    metadata = _PLAIN if mitigated is None else mitigated.metadata()
    return json.dumps(PrimitiveResult(results, metadata), cls=RuntimeEncoder)


def _precision(options: dict[str, Any]) -> float:
    if options.get("default_shots"):
        return 1 / math.sqrt(options["default_shots"])
    return float(options.get("default_precision") or 1 / math.sqrt(_DEFAULT_SHOTS))


def _support(observables: ObservablesArray) -> set[int]:
    return {
        len(pauli) - 1 - place
        for _, terms in _terms(observables)
        for pauli in terms
        for place, letter in enumerate(pauli)
        if letter != "I"
    }


def _restricted(observables: ObservablesArray, active: list[int]) -> ObservablesArray:
    small = np.empty(observables.shape, dtype=object)
    for index, terms in _terms(observables):
        short: dict[str, float] = {}
        for pauli, weight in terms.items():
            key = "".join(pauli[len(pauli) - 1 - qubit] for qubit in reversed(active))
            short[key] = short.get(key, 0.0) + weight
        small[index] = short
    return ObservablesArray(small)


def _terms(observables: ObservablesArray) -> list[tuple[tuple[int, ...], dict[str, float]]]:
    found = []
    for index in np.ndindex(*observables.shape):
        item: Any = observables.tolist()
        for step in index:
            item = item[step]
        found.append((tuple(int(step) for step in index), dict(item)))
    return found


def _executor(device: Device, request: dict[str, Any]) -> str:
    raw = json.loads(request["params"])
    version = raw.get("schema_version")
    if version != "v2.0":
        raise Rejected(f"Executor schema {version!r} is not emulated; only v2.0 is.")
    converter = QUANTUM_PROGRAM_PARAMS_CONVERTERS[version]
    try:
        program, _ = converter.decoder(converter.model.model_validate(raw))
    except Exception as error:
        raise Rejected(f"The quantum program could not be read: {error}", 1518) from error
    if program.meas_level != "classified":
        raise Rejected(f"Measurement level {program.meas_level!r} is not emulated.")
    items = []
    for found in _items(device, request, program, int(request["seed"])):
        tensors = {
            name: CompressedTensorModel.from_numpy(np.asarray(array))
            for name, array in found.items()
        }
        items.append(QuantumProgramResultItemModel(results=tensors, metadata=ItemMetadataModel()))
    return str(
        QuantumProgramResultModel(
            data=items,
            metadata=MetadataModel(chunk_timing=[]),
            passthrough_data=passthrough_data_to_2_0(program.passthrough_data),
            semantic_role=program._semantic_role,  # noqa: SLF001 - the client's own wire format
        ).model_dump_json()
    )


def _items(
    device: Device,
    request: dict[str, Any],
    program: QuantumProgram,
    first: int,
    *,
    places: list[int] | None = None,
) -> list[dict[str, Any]]:
    """Run the items of a program; for each, name to array.

    Args:
        places: Of circuits that were checked and then cut down, see :func:`sample`.
    """
    items = []
    for place, item in enumerate(program.items):
        if places is None:
            device.check(item.circuit)
        seed = (first + 7919 * place) % _SEEDS
        found: dict[str, Any] = {}
        if isinstance(item, SamplexItem):
            rng = np.random.default_rng(seed)
            item.samplex.finalize()
            found = broadcast_sample(item.samplex, item.samplex_arguments, item.shape, rng)
            values = found.pop("parameter_values", np.empty((*item.shape, 0)))
        else:
            values = np.asarray(item.circuit_arguments)
        bits = sample(
            device,
            item.circuit,
            values,
            shots=program.shots,
            seed=seed,
            limits=_limits(request),
            places=places,
        )
        items.append(
            found | {name: array.to_bool_array(order="little") for name, array in bits.items()}
        )
    return items


def _seed(request: dict[str, Any], place: int) -> int:
    return (int(request["seed"]) + 7919 * place) % _SEEDS


_PROGRAMS: dict[str, Callable[[Device, dict[str, Any]], str]] = {
    "sampler": _sampler,
    "estimator": _estimator,
    "executor": _executor,
}
