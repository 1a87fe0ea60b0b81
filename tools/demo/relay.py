"""A relay on loopback that can hold back one kind of request.

So a worker can be killed at the very moment when it waits for a result, without a guess at how
long that moment lasts.
"""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

CHUNK = 65536


class Relay:
    """Passes bytes to ``target`` and back, except that a matching request waits for its release.

    Args:
        target: base URL of the server.
        pattern: what the start of a held request looks like.
    """

    def __init__(self, target: str, pattern: bytes) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._pattern = re.compile(pattern)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.held = threading.Event()
        """Set once a matching request has arrived."""
        self._released = threading.Event()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def release(self) -> None:
        """Let matching requests pass from now on."""
        self._released.set()

    def __enter__(self) -> Self:
        """Listen."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening; what is held is let go."""
        self.release()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
            except OSError:
                return
            threading.Thread(target=self._pump, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, requests: bool) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                if requests and self._pattern.match(data):
                    self.held.set()
                    self._released.wait()
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
