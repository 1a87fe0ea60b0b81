"""Processes that are killed while they submit, and processes that submit at the same time.

The children are real processes, ended by SIGKILL at a named point of a submission.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from qiskit import QuantumCircuit
from qiskit_aer.jobs import utils

from adapters.aer_provider import AerProvider
from adapters.circuits import to_qpy
from adapters.qiskit_backend import BackendV2Provider
from qsaga.core.errors import QsagaError, RunFailed, Undecided
from qsaga.core.ports import QuantumProvider, RemoteJob, RemoteState, RunSpec, SubmissionKey
from tests.adapters.contract.account import acme
from tests.adapters.contract.acme import AcmeService, wait_for_ever
from tests.support.forks import forks

pytestmark = pytest.mark.timeout(60)
SPEC = RunSpec(verb="sample", shots=100)
BEFORE, IN_RUN, ACCEPTED, NAMED = "options", "sending", "accepted", "named"

Child = tuple[Any, Connection]


@pytest.fixture(scope="module")
def children() -> Any:
    """Forks from a process that has everything loaded, and no threads."""
    return forks()


@pytest.fixture
def started(children: Any) -> Iterator[Callable[..., Child]]:
    running: list[Any] = []

    def start(target: Callable[..., None], *given: Any) -> Child:
        ours, theirs = children.Pipe()
        process = children.Process(target=target, args=(theirs, *given), daemon=True)
        process.start()
        running.append(process)
        theirs.close()
        return process, ours

    yield start
    for process in running:
        process.kill()
        process.join()


def heard(child: Child) -> Any:
    """The next thing that a child says."""
    assert child[1].poll(30), "the child says nothing"
    return child[1].recv()


def killed(child: Child) -> None:
    os.kill(child[0].pid, signal.SIGKILL)
    child[0].join(10)
    assert child[0].exitcode == -signal.SIGKILL


def key(tag: str) -> SubmissionKey:
    return SubmissionKey(tag=tag, deployment_tag="qsaga:crashes")


async def submitted(provider: QuantumProvider, tag: str) -> RemoteJob:
    # Of every ISA here: compiling would load all of Qiskit's plugins in each child.
    circuit = QuantumCircuit(1, name="flip")
    circuit.x(0)
    circuit.measure_all()
    (facts,) = await provider.backends()
    return await provider.submit(to_qpy(circuit), (0,), facts.name, SPEC, key(tag))


async def ended(provider: QuantumProvider, job_id: str) -> RemoteJob:
    for _ in range(1000):
        now = await provider.status(job_id)
        if now.state.ended:
            return now
        await asyncio.sleep(0.02)
    raise AssertionError("never ended")


def vendor(
    folder: Path, reached: Callable[[str], None] = lambda point: None, *, tokens: bool = False
) -> BackendV2Provider:
    return acme(AcmeService(folder / "acme", reached), folder / "journal", idempotent=tokens)


def stalling(say: Connection, point: str) -> Callable[[str], None]:
    def reached(now: str) -> None:
        if now == point:
            say.send(point)
            wait_for_ever(point)

    return reached


def submit_to_vendor(say: Connection, folder: Path, tag: str, point: str, tokens: bool) -> None:
    provider = vendor(folder, stalling(say, point), tokens=tokens)
    job = asyncio.run(submitted(provider, tag))
    say.send(job.provider_job_id)
    wait_for_ever("sent")


def submit_at_once(say: Connection, folder: Path, tag: str, tokens: bool) -> None:
    provider = vendor(folder, tokens=tokens)
    say.send("ready")
    say.recv()
    try:
        say.send(asyncio.run(submitted(provider, tag)).provider_job_id)
    except QsagaError as error:
        say.send(type(error).__name__)


def simulate(say: Connection, folder: Path, tag: str, held: bool) -> None:
    async def work() -> None:
        provider = AerProvider(folder, qubits=2)
        if held:
            utils.DEFAULT_EXECUTOR.submit(wait_for_ever, "held")
        job = await submitted(provider, tag)
        say.send(job.provider_job_id)

    asyncio.run(work())
    wait_for_ever("sent")


def stall_in_simulator(say: Connection, folder: Path, tag: str) -> None:
    provider = AerProvider(folder, qubits=2)
    (machine,) = provider._fleet.all()
    machine.run = lambda *_, **__: stalling(say, IN_RUN)(IN_RUN)
    asyncio.run(submitted(provider, tag))


async def test_killed_before_anything_was_written_down_the_key_is_free(
    started: Callable[..., Child], tmp_path: Path
) -> None:
    child = started(submit_to_vendor, tmp_path, "qsaga:k", BEFORE, False)
    assert heard(child) == BEFORE
    killed(child)
    provider = vendor(tmp_path)
    assert await provider.find("qsaga:k") == ()
    job = await submitted(provider, "qsaga:k")
    assert AcmeService(tmp_path / "acme").jobs() == [job.provider_job_id]


@pytest.mark.parametrize(
    ("point", "made"), [(IN_RUN, 0), (ACCEPTED, 1), (NAMED, 1)], ids=[IN_RUN, ACCEPTED, NAMED]
)
async def test_killed_while_sending_the_key_stays_undecided(
    started: Callable[..., Child], tmp_path: Path, point: str, made: int
) -> None:
    child = started(submit_to_vendor, tmp_path, "qsaga:k", point, False)
    assert heard(child) == point
    killed(child)
    provider = vendor(tmp_path)
    assert not provider.capabilities.searchable
    for _ in range(2):
        with pytest.raises(Undecided):
            await submitted(provider, "qsaga:k")
    assert await provider.find("qsaga:k") == ()
    assert len(AcmeService(tmp_path / "acme").jobs()) == made, "it was not sent again"
    await submitted(provider, "qsaga:other")


@pytest.mark.parametrize("point", [IN_RUN, ACCEPTED, NAMED])
async def test_killed_while_sending_with_a_token_the_job_is_had_by_sending_again(
    started: Callable[..., Child], tmp_path: Path, point: str
) -> None:
    child = started(submit_to_vendor, tmp_path, "qsaga:k", point, True)
    assert heard(child) == point
    killed(child)
    provider = vendor(tmp_path, tokens=True)
    assert provider.capabilities.idempotent
    job = await submitted(provider, "qsaga:k")
    assert AcmeService(tmp_path / "acme").jobs() == [job.provider_job_id]
    assert [one.provider_job_id for one in await provider.find("qsaga:k")] == [job.provider_job_id]
    assert (await ended(provider, job.provider_job_id)).state is RemoteState.COMPLETED


async def test_killed_after_sending_the_job_is_followed_by_another_process(
    started: Callable[..., Child], tmp_path: Path
) -> None:
    child = started(submit_to_vendor, tmp_path, "qsaga:k", "never", False)
    job_id = heard(child)
    killed(child)
    provider = vendor(tmp_path)
    assert [job.provider_job_id for job in await provider.find("qsaga:k")] == [job_id]
    assert (await submitted(provider, "qsaga:k")).provider_job_id == job_id
    assert (await ended(provider, job_id)).state is RemoteState.COMPLETED
    assert (await provider.result(job_id)).shots == SPEC.shots


@pytest.mark.parametrize("tokens", [False, True], ids=["journal", "token"])
async def test_processes_that_submit_one_key_at_once_make_one_job(
    started: Callable[..., Child], tmp_path: Path, tokens: bool
) -> None:
    for _ in range(3):
        tag = f"qsaga:{uuid4().hex}"
        many = [started(submit_at_once, tmp_path, tag, tokens) for _ in range(4)]
        assert [heard(child) for child in many] == ["ready"] * 4
        for child in many:
            child[1].send("go")
        said = {heard(child) for child in many}
        (found,) = await vendor(tmp_path).find(tag)
        assert found.provider_job_id in said
        assert said <= {found.provider_job_id, *(() if tokens else ("Undecided",))}
    assert len(AcmeService(tmp_path / "acme").jobs()) == 3


async def test_a_simulation_dies_with_its_process(
    started: Callable[..., Child], tmp_path: Path
) -> None:
    child = started(simulate, tmp_path, "qsaga:k", True)
    job_id = heard(child)
    provider = AerProvider(tmp_path, qubits=2)
    assert (await provider.status(job_id)).state is RemoteState.QUEUED, "the other process lives"
    assert (await provider.cancel(job_id)).state is RemoteState.QUEUED, "it alone could cancel"
    assert len(await provider.pending("qsaga:crashes")) == 1
    killed(child)
    lost = await provider.status(job_id)
    assert (lost.state, lost.reason) == (RemoteState.FAILED, "the process that ran it is gone")
    assert lost.quantum_seconds == 0.0
    assert len(list(tmp_path.glob("*.process"))) == 1, "our own"
    assert await provider.pending("qsaga:crashes") == ()
    with pytest.raises(RunFailed, match="is gone"):
        await provider.result(job_id)


async def test_a_simulation_that_ended_outlives_its_process(
    started: Callable[..., Child], tmp_path: Path
) -> None:
    child = started(simulate, tmp_path, "qsaga:k", False)
    job_id = heard(child)
    provider = AerProvider(tmp_path, qubits=2)
    assert (await ended(provider, job_id)).state is RemoteState.COMPLETED
    killed(child)
    assert (await provider.result(job_id)).shots == SPEC.shots


async def test_a_simulator_killed_while_it_was_given_a_job_may_be_given_it_again(
    started: Callable[..., Child], tmp_path: Path
) -> None:
    child = started(stall_in_simulator, tmp_path, "qsaga:k")
    assert heard(child) == IN_RUN
    provider = AerProvider(tmp_path, qubits=2)
    assert provider.capabilities.searchable
    with pytest.raises(Undecided):
        await submitted(provider, "qsaga:k")
    killed(child)
    job = await submitted(provider, "qsaga:k")
    assert (await ended(provider, job.provider_job_id)).state is RemoteState.COMPLETED
