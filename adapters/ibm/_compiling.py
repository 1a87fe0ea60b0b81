"""A backend's documents: what its target is made from, now, and again years later."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from qiskit_ibm_runtime import IBMBackend
from qiskit_ibm_runtime.utils.backend_converter import convert_to_target
from qiskit_ibm_runtime.utils.backend_decoder import (
    configuration_from_server_data,
    properties_from_server_data,
)

from adapters.compiling import Machine, compile_for
from qsaga.core.contract import canonical_json
from qsaga.core.errors import CompileError
from qsaga.core.ports import Compiled, RunSpec

CLIENT = "qiskit-ibm-runtime"
DECODED = 4
"""Snapshots that a process keeps decoded: reading one takes most of a second."""


@dataclass(frozen=True)
class Decoded:
    """A snapshot in the vendor's classes; ``machine`` keeps the snapshot."""

    configuration: Any
    properties: Any
    machine: Machine


def kept(
    name: str, calibration: str, configuration: dict[str, Any], properties: dict[str, Any]
) -> bytes:
    """A snapshot: what the service replied, as canonical JSON, some 500 kB for 133 qubits."""
    document = {
        "backend": name,
        "calibration_id": calibration or None,
        "configuration": configuration,
        "properties": properties,
    }
    return canonical_json(document).encode()


@lru_cache(maxsize=DECODED)
def decoded(snapshot: bytes) -> Decoded:
    """Make the target that a snapshot describes. Raises ValueError if it cannot be read.

    Whoever asks for the same snapshot gets the same objects, and must not change them.
    """
    try:
        document = json.loads(snapshot)
        configuration = configuration_from_server_data(document["configuration"])
        properties = properties_from_server_data(document["properties"])
        if configuration is None:
            raise ValueError("the configuration cannot be read")
        machine = Machine(
            name=document["backend"],
            calibration_id=document["calibration_id"],
            target=convert_to_target(configuration=configuration, properties=properties),
            snapshot=snapshot,
            options={"translation_method": IBMBackend.get_translation_stage_plugin(None)},
            notes={"fractional_gates": False, CLIENT: version(CLIENT)},
        )
    except Exception as error:  # the decoder raises whatever the documents lead it to
        raise ValueError(f"calibration data: {type(error).__name__}: {error}") from error
    return Decoded(configuration, properties, machine)


def target_of(snapshot: bytes) -> Any:
    """Qiskit's ``Target`` of a snapshot. Raises ValueError if it cannot be read."""
    return decoded(snapshot).machine.target


class IBMRecompiler:
    """Compiles as ``IBMProvider`` did, from the snapshot that was kept (a ``Recompiler``)."""

    async def compile(
        self,
        qpy: bytes,
        calibration: bytes,
        seed: int,
        level: int,
        spec: RunSpec,
        rebind: bool = False,
    ) -> Compiled:
        """Compile in a thread; the same input and versions give the same circuit.

        Raises CompileError, also where the snapshot cannot be read.
        """

        def work() -> Compiled:
            try:
                machine = decoded(calibration).machine
            except ValueError as error:
                raise CompileError(str(error)) from error
            return compile_for(machine, qpy, seed, spec, level, rebind=rebind)

        return await asyncio.to_thread(work)
