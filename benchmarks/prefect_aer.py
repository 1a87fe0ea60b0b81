"""The job of ``benchmarks.overhead`` by prefect-qiskit on Aer, in an environment of its own.

Run as a script with the job as JSON. Prints ``ready``, then for each line that it reads, ``job 1``,
``flow 50`` or ``flows 50``, runs so many jobs and prints how it went as JSON: each job a flow, one
flow for all, or as many flows at once.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from prefect import flow
from prefect_qiskit import QuantumRuntime
from prefect_qiskit.vendors import QiskitAerCredentials
from qiskit import qasm3
from qiskit.transpiler import generate_preset_pass_manager


def main(asked: str) -> None:
    """Serve until the end of input.

    Args:
        asked: JSON: ``qasm3``, ``shots`` and ``seed``.
    """
    job = json.loads(asked)
    runtime = QuantumRuntime(
        resource_name="aer_simulator", credentials=QiskitAerCredentials(), retry_delay=1
    )
    compiler = generate_preset_pass_manager(
        2, target=runtime.get_target(), seed_transpiler=job["seed"]
    )
    pub = (compiler.run(qasm3.loads(job["qasm3"])), None, job["shots"])

    async def sample() -> int:
        result = await runtime.async_sampler([pub])
        return sum(next(iter(result[0].data.values())).get_counts().values())

    async def many(jobs: int) -> list[int]:
        return list(await asyncio.gather(*(sample() for _ in range(jobs))))

    one, all_in_one = flow(sample, name="sample"), flow(many, name="many")

    async def served(how: str, jobs: int) -> list[int]:
        if how == "flow":
            return list(await all_in_one(jobs))
        return list(await asyncio.gather(*(one() for _ in range(jobs))))

    say({"ready": True})
    for line in sys.stdin:
        how, jobs = line.split()
        began = time.perf_counter()
        try:
            counted: list[Any] = asyncio.run(served(how, int(jobs)))
            told = {"delivered": set(counted) == {job["shots"]}, "error": ""}
        except Exception as error:  # noqa: BLE001 - whatever ends the flow is what it delivers
            told = {"delivered": False, "error": f"{type(error).__name__}: {error}"}
        say(told | {"seconds": time.perf_counter() - began})


def say(what: dict[str, object]) -> None:
    """One line for the benchmark."""
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
