"""Sending one circuit through the client's primitives."""

from __future__ import annotations

import json
import warnings
from typing import Any

from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import EstimatorV2, SamplerV2, Session

from adapters.compiling import load_circuit
from adapters.ibm._schema import Accepted, read
from adapters.ibm._wire import GivenUp, running_call
from qsaga.core.errors import PermanentProviderError
from qsaga.core.ports import RunSpec, SubmissionKey


def sent(
    backend: Any,
    isa_qpy: bytes,
    layout: tuple[int, ...],
    spec: RunSpec,
    key: SubmissionKey,
    session: str | None,
) -> str:
    """Send, and return the job's id, as the reply to the submission tells it.

    The client asks for more after that reply; whatever comes of this, the job was accepted.
    """
    call = running_call()
    try:
        _run(mode_of(backend, session), isa_qpy, layout, spec, key)
    except GivenUp:
        raise
    except Exception:
        if call.accepted is None:
            raise
    if call.accepted is None:
        raise RuntimeError("qiskit-ibm-runtime submits in another way in this release")
    return read(Accepted, json.loads(call.accepted), "POST /jobs").id


def mode_of(backend: Any, session: str | None) -> Any:
    """The client's execution mode: the backend itself, or an object for an open session.

    ``Session.from_id`` would make four requests; without them its id is a private attribute,
    named here and nowhere else. A batch runs in the same way.
    """
    if session is None:
        return backend
    made = Session(backend, create_new=False)
    if not hasattr(made, "_session_id"):
        raise RuntimeError("qiskit-ibm-runtime keeps the session's id elsewhere in this release")
    made._session_id = session  # noqa: SLF001
    return made


def _run(
    mode: Any, isa_qpy: bytes, layout: tuple[int, ...], spec: RunSpec, key: SubmissionKey
) -> None:
    """Run by the client's primitives.

    ``SamplerV2`` and ``EstimatorV2`` are the ones whose work is done by the service, so that the
    result does not depend on the client that fetches it. They are deprecated in favour of
    others that do it in the client, but served.
    """
    circuit = load_circuit(isa_qpy)
    options: dict[str, Any] = {"environment": {"job_tags": [key.deployment_tag, key.tag]}}
    if spec.max_seconds is not None:
        options["max_execution_time"] = spec.max_seconds
    if spec.mitigation is not None:
        # The contract has the client's own names.
        options |= spec.mitigation.model_dump(mode="json")
    warnings.filterwarnings(
        "ignore", r"The (Sampler|Estimator)V2 class is deprecated", DeprecationWarning
    )
    if spec.verb == "sample":
        SamplerV2(mode=mode, options=options).run([circuit], shots=spec.shots)
        return
    if not spec.observables or len(layout) != len(next(iter(spec.observables[0]))):
        raise PermanentProviderError("observables and layout do not have as many qubits")
    observables = [
        SparsePauliOp.from_list(list(observable.items())).apply_layout(
            list(layout), circuit.num_qubits
        )
        for observable in spec.observables
    ]
    EstimatorV2(mode=mode, options=options).run([(circuit, observables)], precision=spec.precision)
