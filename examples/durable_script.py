"""An ordinary Qiskit script on qsaga: kill it, run it again, and it finds the job it had started.

python examples/durable_script.py         (a worker must be running: see examples/README.md)
"""

from qiskit import QuantumCircuit

from qsaga.primitives import DurableJob, SamplerV2

SHOTS = 500


def ghz(qubits: int) -> QuantumCircuit:
    """Every qubit 0, or every qubit 1."""
    circuit = QuantumCircuit(qubits)
    circuit.h(0)
    for qubit in range(1, qubits):
        circuit.cx(0, qubit)
    circuit.measure_all()
    return circuit


def ask() -> DurableJob:
    """Start the run, or find it: the same experiment and circuit are the same job."""
    # With any other sampler this line is the only one that differs.
    sampler = SamplerV2(experiment="ghz", tenant="examples", route="hardware")
    return sampler.run([ghz(4)], shots=SHOTS)


if __name__ == "__main__":
    job = ask()
    print(job.job_id(), flush=True)
    answer = job.result()[0]
    print(answer.data.meas.get_counts())
    print("answered by", answer.metadata["qsaga"][0]["source"])
