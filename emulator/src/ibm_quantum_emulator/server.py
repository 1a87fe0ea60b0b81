"""Puts the parts together and runs them until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .app import build_app
from .config import ServerConfig
from .engine import Engine
from .gateway import Gateway
from .pool import Pool
from .snapshot import Snapshot
from .store import Store

log = logging.getLogger(__name__)


# Linux only.
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class _Server(uvicorn.Server):
    # uvicorn would re-raise SIGTERM at the end, and a clean stop would look like a crash.
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Protocol(H11Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # A dropped connection is a reply that ASGI has no words for.
        self.app_state = {**self.app_state, "transport": transport}

    def data_received(self, data: bytes) -> None:
        # The client leaves Nagle on towards a proxy and sends a POST's head and body apart: it
        # would wait 40 ms for a delayed acknowledgement. The option holds for one read only.
        if _QUICKACK is not None:
            peer = self.transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                peer.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        super().data_received(data)


def serve(config: ServerConfig, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        config: All settings.
        announce: Called once with the base URL when requests are answered.

    Raises:
        OSError: The port is taken or the data directory cannot be written.
    """
    config.data.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=config.data / "emulator.log",
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.run(_serve(config, announce))


async def _serve(config: ServerConfig, announce: Callable[[str], None]) -> None:
    listener = _listen(config.host, config.port)
    host, port = listener.getsockname()[:2]
    url = f"http://{host}:{port}"
    store = Store(config.database)
    pool = Pool(
        config.workers,
        config.simulation_timeout,
        config.data / "worker.log",
        config.simulators,
    )
    engine = Engine(config, store, pool, {spec.name: Snapshot(spec) for spec in config.backends})
    gateway = build_app(engine)
    server = _Server(
        uvicorn.Config(
            gateway,
            http=_Protocol,
            ws="none",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
            timeout_keep_alive=75,
        )
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: setattr(server, "should_exit", True))
    pool.start()
    engine.start()
    chores = [
        asyncio.create_task(_announced(server, config.ready_file, url, announce)),
        asyncio.create_task(_housekeeping(server, gateway, config.exit_with_parent)),
        asyncio.create_task(engine.run()),
    ]
    for chore in chores:
        chore.add_done_callback(_report)
    try:
        await server.serve(sockets=[listener])
    finally:
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        await engine.close()
        await pool.close()
        gateway.flush()
        store.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Without the protocol named, asyncio would leave Nagle on: 40 ms for every answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


async def _announced(
    server: uvicorn.Server, ready_file: Path | None, url: str, announce: Callable[[str], None]
) -> None:
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.005)
    if ready_file is not None:
        # Written beside and renamed: whoever waits for it never reads half of it.
        part = ready_file.with_name(ready_file.name + ".part")
        part.write_text(json.dumps({"url": url, "pid": os.getpid()}))
        part.replace(ready_file)
    announce(url)


async def _housekeeping(server: uvicorn.Server, gateway: Gateway, with_parent: bool) -> None:
    parent = os.getppid()
    while True:
        await asyncio.sleep(0.5)
        gateway.flush()
        if with_parent and os.getppid() != parent:
            server.should_exit = True


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a background task ended", exc_info=error)
