"""Lets the emulator's clock follow a Temporal time-skipping server."""

from __future__ import annotations

import asyncio
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from temporalio.testing import WorkflowEnvironment


class ClockBridge:
    """Serves the test server's time as ``{"now": epoch seconds}`` on loopback.

    Args:
        env: the time-skipping environment.
        loop: the event loop that its client belongs to.
    """

    def __init__(self, env: WorkflowEnvironment, loop: asyncio.AbstractEventLoop) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = asyncio.run_coroutine_threadsafe(env.get_current_time(), loop)
                body = json.dumps({"now": asked.result(10).timestamp()}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
