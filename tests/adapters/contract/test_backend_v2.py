"""The adapter for any ``BackendV2``: how jobs stand, and what they end with."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from qiskit import QuantumCircuit
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.result import Result

from adapters.aer_provider import AerProvider
from adapters.circuits import to_qpy
from adapters.qiskit_backend import BackendV2Provider, Vendor, _following, free, time_taken
from qsaga.core.errors import (
    NoSuchRemoteJob,
    PermanentProviderError,
    ResultUnusable,
    RunFailed,
    TransientProviderError,
)
from qsaga.core.ports import RemoteJob, RemoteState, RunSpec, SubmissionKey
from tests.adapters.contract.account import KEY, NO_REPLY, SAMPLE, Account, coin, until_ended
from tests.adapters.contract.acme import AcmeBackend, AcmeError

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path)


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("INITIALIZING", RemoteState.QUEUED),
        ("VALIDATING", RemoteState.QUEUED),
        ("RUNNING", RemoteState.RUNNING),
        ("ERROR", RemoteState.FAILED),
        ("CANCELLED", RemoteState.CANCELLED),
        ("PAUSED", RemoteState.UNKNOWN),
    ],
)
async def test_every_status_of_a_vendor_is_told_in_the_words_of_the_port(
    account: Account, said: str, state: RemoteState
) -> None:
    account.service.hold()
    job = await account.send()
    account.service.change(job.provider_job_id, {"status": said, "shots": 100})
    now = await account.provider.status(job.provider_job_id)
    assert now.state is state
    assert (now.quantum_seconds is not None) == state.ended
    if state is RemoteState.UNKNOWN:
        assert "PAUSED" in now.reason
        assert len(await account.provider.pending(KEY.deployment_tag)) == 1
    if state is RemoteState.FAILED:
        assert "has no result" in now.reason
        with pytest.raises(RunFailed, match="has no result"):
            await account.provider.result(job.provider_job_id)


@pytest.mark.parametrize("error", NO_REPLY, ids=lambda error: type(error).__name__)
async def test_a_vendor_that_does_not_answer_may_do_so_later(
    account: Account, error: Exception
) -> None:
    account.service.hold()
    job = await account.send()
    account.fail("looking", error)
    for ask in (account.provider.status, account.provider.result, account.provider.cancel):
        with pytest.raises(TransientProviderError):
            await ask(job.provider_job_id)
    assert [one.state for one in await account.provider.find(KEY.tag)] == [RemoteState.QUEUED]
    assert len(await account.provider.pending(KEY.deployment_tag)) == 1
    assert not (await account.provider.health()).reachable
    (facts,) = await account.provider.backends()
    assert not facts.operational
    assert type(error).__name__ in facts.detail


async def test_credentials_that_are_refused_are_told_from_silence(account: Account) -> None:
    account.fail("looking", AcmeError("who are you", 422))
    health = await account.provider.health()
    assert (health.reachable, health.authorised) == (True, False)
    assert "who are you" in health.detail


async def test_a_journal_that_cannot_be_used_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("not a folder")
    account = Account(tmp_path)
    health = await account.provider.health()
    assert not health.reachable
    assert "journal" in health.detail
    with pytest.raises(TransientProviderError, match="journal"):
        await account.send()
    assert account.service.jobs() == []


def hexed(**counts: Any) -> dict[str, Any]:
    return {"success": True, "shots": 1, "data": {"counts": counts}}


@pytest.mark.parametrize(
    "results",
    [
        [],
        [hexed(**{"0x1": 50}), hexed(**{"0x1": 50})],
        [{"success": True, "shots": 1, "data": {}}],
        [hexed()],
        [hexed(**{"0x7": 50})],
        [hexed(**{"0x1": 0.5})],
        [hexed(**{"0x1": -1, "0x0": 5})],
    ],
    ids=["none", "two", "no counts", "empty", "too many bits", "half a shot", "negative"],
)
async def test_a_result_of_another_shape_is_unusable_and_charged(
    account: Account, results: list[dict[str, Any]]
) -> None:
    account.service.hold()
    job = await account.send()
    told = {"backend_name": "x", "backend_version": "1", "job_id": "x", "success": True}
    account.service.change(
        job.provider_job_id,
        {"status": "DONE", "shots": 1, "result": told | {"results": results, "time_taken": 2.5}},
    )
    done = await account.provider.status(job.provider_job_id)
    assert (done.state, done.quantum_seconds) == (RemoteState.COMPLETED, 2.5)
    with pytest.raises(ResultUnusable, match=r"another shape|results of"):
        await account.provider.result(job.provider_job_id)


async def test_a_result_that_says_it_failed_is_a_failure(account: Account) -> None:
    account.service.hold()
    job = await account.send()
    result = {
        "backend_name": "x",
        "backend_version": "1",
        "job_id": "x",
        "success": False,
        "status": "laser off",
        "results": [],
    }
    account.service.change(job.provider_job_id, {"status": "DONE", "shots": 1, "result": result})
    done = await account.provider.status(job.provider_job_id)
    assert (done.state, done.reason) == (RemoteState.FAILED, "laser off")
    with pytest.raises(RunFailed, match="laser off"):
        await account.provider.result(job.provider_job_id)


async def test_a_result_that_cannot_be_fetched_does_not_keep_the_charge_open_for_ever(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.service.hold()
    job = await account.send()
    account.service.change(job.provider_job_id, {"status": "DONE", "shots": 1})
    done = await account.provider.status(job.provider_job_id)
    assert (done.state, done.quantum_seconds) == (RemoteState.COMPLETED, None)
    with pytest.raises(TransientProviderError, match="has no result"):
        await account.provider.result(job.provider_job_id)
    monkeypatch.setattr(_following, "CHARGE_PATIENCE", timedelta(0))
    assert (await account.provider.status(job.provider_job_id)).quantum_seconds == 1.0
    # The result itself may still come.
    account.service.release()
    account.service.change(job.provider_job_id, {"status": "QUEUED", "shots": 100})
    account.service.state(job.provider_job_id)
    assert (await account.provider.result(job.provider_job_id)).shots == 100


def test_charges() -> None:
    job = RemoteJob(provider_job_id="j", backend="b", state=RemoteState.COMPLETED)
    timed = Result(backend_name="b", time_taken=1.5)
    charge = time_taken(otherwise=4.0)
    assert charge(job, timed) == 1.5
    assert charge(job, Result(backend_name="b")) == charge(job, None) == 4.0
    cancelled = job.model_copy(update={"state": RemoteState.CANCELLED})
    assert charge(cancelled, None) == 0.0
    ran = cancelled.model_copy(update={"running": datetime.now(UTC)})
    assert charge(ran, None) == 4.0
    assert free(ran, timed) == 0.0
    with pytest.raises(ValueError, match="charge="):
        Vendor(retrieve_job=lambda job_id: None)


async def test_ids_that_the_vendor_does_not_know_in_either_way(tmp_path: Path) -> None:
    def missing(job_id: str) -> Any:
        raise KeyError(job_id)

    for retrieve in (missing, lambda job_id: None):
        vendor = Vendor(retrieve_job=retrieve, charge=time_taken(0.0))
        provider = BackendV2Provider("v", list, tmp_path, vendor)
        with pytest.raises(NoSuchRemoteJob, match="j1"):
            await provider.status("j1")


async def test_limits_are_kept_before_anything_is_sent(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.provider._vendor = replace(account.provider._vendor, max_shots=1000)
    spec = RunSpec(verb="estimate", shots=0, observables=({"ZI": 2.0},), precision=0.05)
    with pytest.raises(PermanentProviderError, match="1600 shots are needed, acme takes 1000"):
        await account.send(spec)
    monkeypatch.setattr(AcmeBackend, "max_circuits", 1)
    spec = RunSpec(verb="estimate", shots=10, observables=({"ZI": 1.0, "XI": 1.0},))
    with pytest.raises(PermanentProviderError, match="2 circuits are needed, acme_line takes 1"):
        await account.send(spec)
    assert account.service.jobs() == []


SPECS = [
    ({"shots": 0}, "0 shots"),
    ({"verb": "estimate", "observables": ()}, "nothing to estimate"),
    ({"verb": "estimate", "observables": ({"ZZ": 1.0},), "precision": 0.0}, "precision of 0"),
    ({"verb": "estimate", "observables": ({"ZQ": 1.0},), "precision": 0.1}, "observables"),
    ({"verb": "estimate", "observables": ({"ZZ": 1.0},), "shots": 0}, "neither precision"),
]


@pytest.mark.parametrize(("given", "says"), SPECS)
async def test_specs_that_cannot_be_run_are_refused(
    account: Account, given: dict[str, Any], says: str
) -> None:
    spec = SAMPLE.model_copy(update=given)
    with pytest.raises(PermanentProviderError, match=says):
        await account.send(spec)
    assert account.service.jobs() == []


async def test_a_circuit_that_is_not_of_the_isa_is_refused(account: Account) -> None:
    with pytest.raises(PermanentProviderError, match=r"no h on qubits \[0\]"):
        await account.provider.submit(to_qpy(coin()), (0, 1), "acme_line", SAMPLE, KEY)
    estimate = RunSpec(verb="estimate", shots=9, observables=({"ZZ": 1.0},))
    with pytest.raises(PermanentProviderError, match=r"layout \[1, 1\]"):
        await account.provider.submit(to_qpy(QuantumCircuit(3)), (1, 1), "acme_line", estimate, KEY)
    assert account.service.jobs() == []


async def test_an_imitated_machine_has_its_target_and_its_noise(tmp_path: Path) -> None:
    noisy = GenericBackendV2(3, coupling_map=[[0, 1], [1, 2]], seed=5)
    provider = AerProvider(tmp_path, imitated=noisy)
    (facts,) = await provider.backends()
    assert facts.name == "aer_generic_backend_3q"
    assert (await provider.target(facts.name)).couplings == 2
    ghz = QuantumCircuit(3, name="ghz")
    ghz.h(0)
    for _ in range(20):
        ghz.cx(0, 1)
        ghz.cx(1, 2)
        ghz.cx(1, 2)
        ghz.cx(0, 1)
        ghz.barrier()
    ghz.measure_all()
    spec = RunSpec(verb="sample", shots=4000)
    isa = await provider.compile(to_qpy(ghz), facts.name, 7, spec)
    counts = []
    for name in ("one", "two"):
        key = SubmissionKey(tag=name, deployment_tag="d")
        job = await provider.submit(isa.qpy, isa.facts.layout, facts.name, spec, key)
        assert (await until_ended(provider, job)).quantum_seconds == 0.0
        counts.append((await provider.result(job.provider_job_id)).counts["meas"])
    assert counts[0] != counts[1], "each key has a seed of its own"
    assert set(counts[0]) > {"000", "001"}, "noise reaches other outcomes"
