"""A real HTTP proxy between the client and the emulator that misbehaves on request, and helpers."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr
from qiskit import QuantumCircuit, qpy

from adapters.ibm import IBMProvider
from qsaga.core.ports import Compiled, RemoteJob, RemoteState, RunSpec, SubmissionKey
from qsaga.settings import IBMSettings

BACKEND = "ibm_torino"
JOBS = r"/jobs$"
JOB = r"/jobs/[^/]+$"
SPEC = RunSpec(verb="sample", shots=100)
TAG = "qsaga:0123"


@dataclass
class Fault:
    """What to do to the next ``times`` requests whose method and path fit.

    Exactly what is given happens: ``forward`` lets the emulator have the request, ``status``,
    ``body`` and ``headers`` replace its reply, ``rewrite`` changes its body, ``drop`` closes the
    connection without a reply, ``hang`` waits so many seconds before any reply, ``drip`` sends
    the body one byte at a time with pauses of so many seconds, ``cut`` leaves its end away.
    """

    method: str
    path: str
    times: int = 10**9
    forward: bool = False
    status: int | None = None
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    rewrite: Callable[[bytes], bytes] | None = None
    drop: bool = False
    hang: float = 0.0
    drip: float = 0.0
    cut: int = 0


class Wire:
    """The proxy. ``log`` has method, path and authorization scheme of every request."""

    def __init__(self, emulator: str) -> None:
        self.faults: list[Fault] = []
        self.log: list[tuple[str, str, str]] = []
        self.closing = threading.Event()
        self._target = urlsplit(emulator)
        wire = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                wire.handle(self)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any  # noqa: N815

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # clients that give up are what is tested

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def add(self, method: str, path: str, **what: Any) -> Fault:
        fault = Fault(method, path, **what)
        self.faults.append(fault)
        return fault

    def count(self, method: str, path: str) -> int:
        return sum(m == method and bool(re.search(path, p)) for m, p, _ in self.log)

    def _fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and fault.method == method and re.search(fault.path, path):
                fault.times -= 1
                return fault
        return None

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        path = urlsplit(request.path).path
        scheme = (request.headers.get("Authorization") or "").partition(" ")[0]
        self.log.append((request.command, path, scheme))
        if self.closing.is_set():
            request.close_connection = True
            return
        fault = self._fault(request.command, path) or Fault("", "", forward=True)
        status, reply, kind = fault.status or 200, b"", "application/json"
        if fault.forward:
            status, reply, kind = self._forward(request, body)
        if fault.hang:
            self.closing.wait(fault.hang)
        if fault.drop:
            request.close_connection = True
            return
        status = fault.status or status
        reply = reply if fault.body is None else fault.body
        reply = fault.rewrite(reply) if fault.rewrite else reply
        request.send_response(status)
        for name, value in {"Content-Type": kind, **fault.headers}.items():
            request.send_header(name, value)
        if status != 204:
            request.send_header("Content-Length", str(len(reply)))
        request.end_headers()
        if status == 204:
            return
        if fault.drip:
            for byte in reply:
                request.wfile.write(bytes([byte]))
                time.sleep(fault.drip)
        else:
            request.wfile.write(reply[: len(reply) - fault.cut])
        request.close_connection = bool(fault.cut or fault.drip)

    def _forward(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes, str]:
        upstream = http.client.HTTPConnection(
            str(self._target.hostname), self._target.port, timeout=30
        )
        headers = {k: v for k, v in request.headers.items() if k.lower() != "accept-encoding"}
        upstream.request(request.command, request.path, body, headers)
        answer = upstream.getresponse()
        reply = answer.read()
        upstream.close()
        return answer.status, reply, answer.getheader("Content-Type") or "text/plain"


def settings(url: str, **given: Any) -> IBMSettings:
    """Settings for an emulator, or a wire to it, at ``url``."""
    return IBMSettings(
        **{
            "token": SecretStr("key"),
            "instance": "emulator",
            "url": "http://emulator.test",
            "proxy": url,
            "iam_url": url,
            "call_timeout": 20.0,
            **given,
        }
    )


def key(tag: str, deployment: str = "qsaga:test") -> SubmissionKey:
    """What a submission is known by."""
    return SubmissionKey(tag=tag, deployment_tag=deployment)


def packed(circuit: QuantumCircuit) -> bytes:
    """A circuit as QPY bytes."""
    buffer = io.BytesIO()
    qpy.dump(circuit, buffer)
    return buffer.getvalue()


def ghz(qubits: int = 3) -> QuantumCircuit:
    """All zeros and all ones, measured."""
    circuit = QuantumCircuit(qubits, name="ghz")
    circuit.h(0)
    for qubit in range(1, qubits):
        circuit.cx(qubit - 1, qubit)
    circuit.measure_all()
    return circuit


def edited(change: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    """A ``rewrite`` that changes a JSON reply: what ``change`` returns, else what it was given."""

    def rewrite(body: bytes) -> bytes:
        document = json.loads(body)
        changed = change(document)
        return json.dumps(document if changed is None else changed).encode()

    return rewrite


async def submit(
    provider: IBMProvider, compiled: Compiled, tag: str = TAG, session: str | None = None
) -> RemoteJob:
    """Send what was compiled."""
    return await provider.submit(
        compiled.qpy, compiled.facts.layout, BACKEND, SPEC, key(tag), session
    )


async def completed(provider: IBMProvider, compiled: Compiled, tag: str = TAG) -> str:
    """The id of a job that has run."""
    job = await submit(provider, compiled, tag)
    assert (await ended(provider, job)).state is RemoteState.COMPLETED
    return job.provider_job_id


async def ended(provider: IBMProvider, job: RemoteJob, looks: int = 400) -> RemoteJob:
    """The job as it ended, within so many looks."""
    for _ in range(looks):
        now = await provider.status(job.provider_job_id)
        if now.state.ended:
            return now
        await asyncio.sleep(0.02)
    raise AssertionError("never ended")


async def all_calls_over() -> None:
    """Wait until no thread works for a call any more, also for one that was given up."""
    for _ in range(400):
        if not any(thread.name == "ibm-call" for thread in threading.enumerate()):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("threads were left behind")
