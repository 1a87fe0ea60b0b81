"""API keys that are revoked, replaced or read from a file, and tokens that expire in mid-wait."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from adapters.ibm import IBMProvider
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.errors import PermanentProviderError, TransientProviderError
from qsaga.core.ports import Compiled
from qsaga.settings import IBMSettings, Settings
from tests.adapters.ibm_wire import TAG, Wire, settings, submit

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "api-key"
    path.write_text("old\n")
    return path


def from_file(url: str, key_file: Path) -> IBMProvider:
    return IBMProvider(settings(url, token=None, token_file=key_file))


async def test_credentials_that_fail_are_read_again(emulator: EmulatorProcess) -> None:
    replaced = settings(emulator.url, token=SecretStr("new"))
    provider = IBMProvider(settings(emulator.url, token=SecretStr("old")), reread=lambda: replaced)
    await provider.backends()
    emulator.control.set_faults(revoked_keys=["old"])
    assert await provider.backends()


async def test_a_key_that_is_replaced_in_its_file_works_at_the_next_call(
    wire: Wire, emulator: EmulatorProcess, compiled: Compiled, key_file: Path
) -> None:
    provider = from_file(wire.url, key_file)
    job = await submit(provider, compiled)
    emulator.control.set_faults(revoked_keys=["old"])
    with pytest.raises(PermanentProviderError, match="credentials are not accepted"):
        await provider.status(job.provider_job_id)
    key_file.write_text("new\n")
    assert (await provider.status(job.provider_job_id)).provider_job_id == job.provider_job_id
    wire.log.clear()
    await provider.find(TAG)
    assert wire.count("POST", "/identity/token") == 0, "signed in for good"


async def test_a_key_that_was_replaced_before_it_was_missed_is_never_noticed(
    wire: Wire, emulator: EmulatorProcess, compiled: Compiled, key_file: Path
) -> None:
    provider = from_file(wire.url, key_file)
    await provider.find(TAG)
    key_file.write_text("new")
    emulator.control.set_faults(revoked_keys=["old"])
    job = await submit(provider, compiled)
    assert [j["id"] for j in emulator.control.jobs(TAG)] == [job.provider_job_id]


async def test_a_key_file_that_is_being_replaced_is_waited_for(
    emulator: EmulatorProcess, key_file: Path
) -> None:
    provider = from_file(emulator.url, key_file)
    await provider.backends()
    emulator.control.set_faults(revoked_keys=["old"])
    key_file.unlink()
    with pytest.raises(TransientProviderError, match="api-key: No such file"):
        await provider.backends()
    key_file.write_text(" \n")
    with pytest.raises(TransientProviderError, match=r"TOKEN_FILE .*the file is empty"):
        await provider.backends()
    key_file.write_text("new")
    assert await provider.backends()


async def test_a_token_that_expires_in_mid_wait_is_renewed_silently(
    wire: Wire, emulator: EmulatorProcess, compiled: Compiled
) -> None:
    emulator.control.set_plan({"do": "token_lifetime", "seconds": 2.0})
    provider = IBMProvider(settings(wire.url))
    job = await submit(provider, compiled)
    wire.log.clear()
    until = time.monotonic() + 20
    while wire.count("POST", "/identity/token") < 2:
        assert time.monotonic() < until, "never renewed"
        assert (await provider.status(job.provider_job_id)).provider_job_id
        await asyncio.sleep(0.05)
    # One that the service alone holds for expired costs a sign-in, and no error either.
    emulator.control.set_plan({"on": "list", "do": "expire_tokens"})
    assert [j.provider_job_id for j in await provider.find(TAG)] == [job.provider_job_id]


async def test_revoked_credentials_are_refused_at_once(emulator: EmulatorProcess) -> None:
    provider = IBMProvider(settings(emulator.url))
    emulator.control.set_faults(revoked_keys=["key"])
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(PermanentProviderError, match="credentials"):
            await provider.backends()
    assert time.monotonic() - began < 5
    emulator.control.set_faults(revoked_keys=[])
    assert await provider.backends()


def test_one_token_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not IBMSettings().has_account
    assert IBMSettings(token=SecretStr("x")).has_account
    assert IBMSettings(token_file=tmp_path).has_account
    monkeypatch.setenv("QSAGA_IBM__TOKEN", "x")
    monkeypatch.setenv("QSAGA_IBM__TOKEN_FILE", str(tmp_path / "key"))
    with pytest.raises(ValidationError) as raised:
        Settings()
    (error,) = raised.value.errors()
    assert error["loc"] == ("ibm", "token_file")
    assert "either token or token_file" in error["msg"]
