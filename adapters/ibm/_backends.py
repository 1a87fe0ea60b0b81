"""Backends: what they offer, and their calibration."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from qiskit_ibm_runtime import IBMBackend

from adapters.compiling import Machine
from adapters.ibm._account import Connection
from adapters.ibm._compiling import decoded, kept
from adapters.ibm._schema import Configuration, Device, Devices, Properties, SchemaDrift, read
from adapters.ibm._wire import session_of
from qsaga.core.errors import PermanentProviderError, TransientProviderError
from qsaga.core.facts import BackendFacts

CALIBRATION_SECONDS = 300.0
"""How long ``backends`` trusts the calibration id that it saw; ``compile`` always asks."""


@dataclass(frozen=True)
class Known:
    """A backend as it was calibrated: the vendor's object, and what compiling for it takes."""

    calibration_id: str
    backend: Any
    connection: Connection
    machine: Machine


class Backends:
    """Cache of backends by name and calibration; thread-safe."""

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}
        self._calibrations: dict[str, tuple[float, str | None]] = {}
        self._lock = threading.Lock()

    def facts(self, connection: Connection, provider: str) -> tuple[BackendFacts, ...]:
        """All backends, by one request, and one more for each calibration not seen of late."""
        # The client's own method takes a list that is not there for an empty one.
        raw = session_of(connection.client).get("/backends").json()
        return tuple(
            self._facts_of(connection, provider, device)
            for device in read(Devices, raw, "GET /backends").devices
            if device.kind != "mock"
        )

    def _facts_of(self, connection: Connection, provider: str, device: Device) -> BackendFacts:
        state, queue = device.status.name, device.queue_length
        operational = state == "online"
        return BackendFacts(
            name=device.name,
            provider=provider,
            qubits=device.qubits or 0,
            operational=operational,
            queue_length=None if queue is None else max(0, int(queue)),
            calibration_id=self._seen_calibration(connection, device.name) if operational else None,
            region=connection.region,
            detail="" if operational else f"{state} {device.status.reason}".strip(),
        )

    def _seen_calibration(self, connection: Connection, name: str) -> str | None:
        with self._lock:
            at, seen = self._calibrations.get(name, (float("-inf"), None))
        if time.monotonic() - at < CALIBRATION_SECONDS:
            return seen
        return self._now(connection, name)[0]

    def _now(self, connection: Connection, name: str) -> tuple[str | None, Any]:
        """The calibration id and the raw properties, by one request."""
        properties = connection.client.backend_properties(name)
        calibration = calibration_of(properties)
        with self._lock:
            self._calibrations[name] = (time.monotonic(), calibration)
        return calibration, properties

    def known(self, connection: Connection, name: str, *, fresh: bool) -> Known:
        """The vendor's object for a backend.

        Args:
            connection: to ask.
            name: of the backend.
            fresh: ask for the calibration and build the target anew if it changed; otherwise
                any calibration does.
        """
        with self._lock:
            known = self._known.get(name)
        usable = known is not None and known.connection is connection
        if known is not None and usable and not fresh:
            return known
        calibration, properties = self._now(connection, name)
        if known is not None and usable and known.calibration_id == (calibration or ""):
            return known
        # The target is made from the very properties that the id was read from.
        known = _build(connection, name, calibration or "", properties)
        with self._lock:
            self._known[name] = known
        return known


def _build(connection: Connection, name: str, calibration: str, properties: Any) -> Known:
    configuration = connection.client.backend_configuration(name, refresh=True)
    if not properties:
        raise TransientProviderError(f"IBM Quantum: {name} has no calibration data now")
    read(Configuration, configuration, "GET /backends/{name}/configuration")
    read(Properties, properties, "GET /backends/{name}/properties")
    try:
        snapshot = kept(name, calibration, configuration, properties)
        parts = decoded(snapshot)
    except ValueError as error:
        raise SchemaDrift("GET /backends/{name}/properties", str(error)) from error
    backend = IBMBackend(
        configuration=parts.configuration,
        service=connection.service,
        api_client=connection.client,
        instance=connection.instance,
    )
    backend.options.use_fractional_gates = False
    # What the client would ask for once more; so both have the same calibration.
    backend._properties = parts.properties  # noqa: SLF001
    if parts.machine.target.num_qubits is None:
        raise PermanentProviderError(f"IBM Quantum: {name} does not say how many qubits it has")
    # Reading the target here makes it once; later it is shared between threads.
    backend.target  # noqa: B018
    return Known(calibration, backend, connection, parts.machine)


def calibration_of(properties: Any) -> str | None:
    """The calibration id of raw properties, else the time of their last update in UTC.

    From the raw reply, since the client takes its times for UTC whatever offset they have.
    """
    if not isinstance(properties, dict):
        return None
    if isinstance(properties.get("calibration_id"), str):
        return str(properties["calibration_id"])
    try:
        at = datetime.fromisoformat(str(properties.get("last_update_date")))
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
