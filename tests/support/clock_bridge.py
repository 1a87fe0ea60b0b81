"""Lets the emulator's clock follow Temporal time-skipping servers, one after the other."""

from __future__ import annotations

import asyncio
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from google.protobuf.empty_pb2 import Empty
from temporalio.client import Client


class ClockBridge:
    """Serves a test server's time as ``{"now": epoch seconds}`` on loopback.

    With an event loop and a connection of its own: a test may block its loop in a call to the
    emulator, which asks here for the time before it answers. A new server starts at the real
    time, hours before where the last one had skipped to; an offset keeps the clock from going
    back.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._client: Client | None = None
        self._offset = self._last = 0.0
        bridge = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = asyncio.run_coroutine_threadsafe(bridge._now(), bridge._loop)
                body = json.dumps({"now": asked.result(10)}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._threads = [
            Thread(target=self._loop.run_forever, daemon=True),
            Thread(target=self._server.serve_forever, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def follow(self, address: str) -> None:
        """Follow the server at ``host:port`` from now on."""
        asyncio.run_coroutine_threadsafe(self._switch(address), self._loop).result(10)

    async def _switch(self, address: str) -> None:
        self._client = await Client.connect(address)
        self._offset = 0.0
        self._offset = max(0.0, self._last - await self._now())

    async def _now(self) -> float:
        if self._client is not None:
            reply = await self._client.test_service.get_current_time(Empty())
            self._last = reply.time.seconds + reply.time.nanos / 1e9 + self._offset
        return self._last

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        for thread in self._threads:
            thread.join()
        self._loop.close()
