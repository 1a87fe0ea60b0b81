"""Servers for payloads: Temporal, an emulator, and stand-ins for S3 and Google Cloud Storage."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import boto3
import pytest
from google.cloud import storage

from qsaga.keyring import add_key, changing
from tests.support.servers import dev_env, emulator
from tools.stage import wait_until

__all__ = ["dev_env", "emulator"]


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    """A key file whose key ``first`` encrypts."""
    path = tmp_path / "keys" / "payloads.json"
    with changing(path) as keys:
        keys.current = add_key(keys, "first")
    return path


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """A bucket of a server that speaks S3; boto3 finds it by the vendor's own variables."""
    server, port = Path(sys.executable).with_name("moto_server"), free_port()
    address = f"http://127.0.0.1:{port}"
    variables = {
        "AWS_ENDPOINT_URL_S3": address,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    with running([server, "-p", str(port)], port), pytest.MonkeyPatch.context() as patched:
        for name, value in variables.items():
            patched.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="qsaga-payloads")
        yield "qsaga-payloads"


@pytest.fixture(scope="session")
def gcs() -> Iterator[str]:
    """A bucket of a server that speaks Google Cloud Storage."""
    server, port = Path(sys.executable).with_name("gcp-storage-emulator"), free_port()
    start = [server, "start", "--host=127.0.0.1", f"--port={port}", "--in-memory"]
    with running(start, port), pytest.MonkeyPatch.context() as patched:
        patched.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        patched.setenv("GOOGLE_CLOUD_PROJECT", "test")
        storage.Client().create_bucket("qsaga-payloads")
        yield "qsaga-payloads"


@contextmanager
def running(command: Sequence[str | Path], port: int) -> Iterator[None]:
    """A server, from when it accepts connections."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: listens(port), f"{command[0]} listens")
            yield
        finally:
            process.terminate()


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
