from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from qiskit import QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import SamplerV2

from emulator.tests.bench import Bench
from ibm_quantum_emulator.process import EmulatorProcess

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The hook sees the whole session, which may be of more than this distribution.
    for item in (item for item in items if HERE in item.path.parents):
        item.add_marker(pytest.mark.timeout(60))
        item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))


@pytest.fixture(scope="session")
def ibm_emulator_process() -> Iterator[EmulatorProcess]:
    # One of our own: a session's first user of the plugin's fixture decides its options.
    with EmulatorProcess(
        noise="none",
        stepped=True,
        backend=["ibm_torino", "small=manila"],
        instance=["emulator", "premium-one:premium:eu-de"],
        max_active_qubits=6,
    ) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def session_service(ibm_emulator_process: EmulatorProcess) -> Any:
    return ibm_emulator_process.service()


@pytest.fixture
def service(ibm_emulator: EmulatorProcess, session_service: Any) -> Any:
    return session_service


@pytest.fixture(scope="session")
def backend(session_service: Any) -> Any:
    return session_service.backend("ibm_torino")


@pytest.fixture(scope="session")
def isa(backend: Any) -> Callable[[QuantumCircuit], QuantumCircuit]:
    return generate_preset_pass_manager(0, backend=backend).run


@pytest.fixture(scope="session")
def bell(isa: Callable[[QuantumCircuit], QuantumCircuit]) -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return isa(circuit)


@pytest.fixture
def http(ibm_emulator: EmulatorProcess) -> Iterator[httpx.Client]:
    """Requests without the client's own ways: ``post("jobs", ...)``."""
    # Tools' proxy variables must not come between a test and loopback.
    with httpx.Client(base_url=ibm_emulator.url + "/api/v1/", trust_env=False) as client:
        reply = client.post(ibm_emulator.url + "/identity/token", data={"apikey": "raw"})
        client.headers["authorization"] = f"Bearer {reply.json()['access_token']}"
        client.headers["service-crn"] = ibm_emulator.crn
        yield client


@pytest.fixture
def submit(ibm_emulator: EmulatorProcess, backend: Any, bell: QuantumCircuit) -> Callable[..., Any]:
    def run(*tags: str, shots: int = 64, circuits: Any = None, **options: Any) -> Any:
        sampler = SamplerV2(backend)
        if tags:
            sampler.options.environment.job_tags = list(tags)
        if options:
            sampler.options.update(**options)
        return sampler.run(circuits or [bell], shots=shots)

    return run


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "data")
    yield bench
    bench.store.close()
