"""The job of ``benchmarks.faults`` by prefect-qiskit, in an environment of its own.

Run as a script with the address of the emulator and a CRN. Prints ``ready``, then runs one flow for
each line that it reads, and prints how it went as JSON.
"""

from __future__ import annotations

import json
import sys
import time

from prefect import flow
from prefect_qiskit import QuantumRuntime
from prefect_qiskit.vendors import IBMQuantumCredentials
from pydantic import HttpUrl, UrlConstraints
from qiskit import qasm3
from qiskit.transpiler import generate_preset_pass_manager


class Address(HttpUrl):
    """An address to which no slash is added: its vendor client would double it."""

    _constraints = UrlConstraints(allowed_schemes=["http"], preserve_empty_path=True)


def main(url: str, crn: str, backend: str, asked: str) -> None:
    """Serve until the end of input.

    Args:
        url: where the emulator is.
        crn: of the instance.
        backend: its name.
        asked: JSON: ``qasm3``, ``shots``, ``seed`` and ``retry_delay`` in seconds.
    """
    job = json.loads(asked)
    runtime = QuantumRuntime(
        resource_name=backend,
        credentials=IBMQuantumCredentials(
            api_key="emulator-key",
            crn=crn,
            auth_url=Address(url),
            runtime_url=f"{url}/api/v1/",
        ),
        retry_delay=job["retry_delay"],
    )
    compiler = generate_preset_pass_manager(
        2, target=runtime.get_target(), seed_transpiler=job["seed"]
    )
    circuit = compiler.run(qasm3.loads(job["qasm3"]))

    def sample() -> object:
        return runtime.sampler([(circuit, None, job["shots"])])

    run = flow(sample, name="sample")
    say({"ready": True})
    for _ in sys.stdin:
        began = time.perf_counter()
        try:
            counts = next(iter(run()[0].data.values())).get_counts()
            told = {"delivered": sum(counts.values()) == job["shots"], "error": ""}
        except Exception as error:  # noqa: BLE001 - whatever ends the flow is what it delivers
            told = {"delivered": False, "error": f"{type(error).__name__}: {error}"}
        say(told | {"seconds": time.perf_counter() - began})


def say(what: dict[str, object]) -> None:
    """One line for the benchmark."""
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
