"""A pool of simulator processes, driven from the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import struct
import sys
from pathlib import Path
from typing import IO, Any

log = logging.getLogger(__name__)

HEADER = struct.Struct("!Q")
_DRAIN_SECONDS = 5.0
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "QISKIT_PARALLEL": "FALSE",
}
"""The pool is what uses the cores, and the HTTP loop needs one too."""


class _Worker:
    """A simulator process; requests and answers are length-prefixed JSON.

    They go over its pipes, or over a connection to a process that others have started.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        process: asyncio.subprocess.Process | None = None,
    ) -> None:
        self._reader, self._writer, self._process = reader, writer, process
        self.pid: int | None = None

    @classmethod
    async def start(cls, errors: IO[bytes], simulators: Path | None) -> _Worker:
        worker = await cls._of_others(simulators) if simulators else None
        worker = worker or await cls._own(errors)
        try:
            worker.pid = (await worker.read())["pid"]
        except BaseException:
            await worker.kill()
            raise
        return worker

    @classmethod
    async def _of_others(cls, simulators: Path) -> _Worker | None:
        try:
            return cls(*await asyncio.open_unix_connection(simulators))
        except OSError as error:
            log.warning("no simulator at %s (%s): starting one", simulators, error)
            return None

    @classmethod
    async def _own(cls, errors: IO[bytes]) -> _Worker:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ibm_quantum_emulator.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **ONE_THREAD},
            # Ctrl-C in a terminal reaches the group; the parent decides when workers end.
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        return cls(process.stdout, process.stdin, process)

    @property
    def alive(self) -> bool:
        if self._process is None:
            return not self._reader.at_eof()
        return self._process.returncode is None

    async def read(self) -> dict[str, Any]:
        (size,) = HEADER.unpack(await self._reader.readexactly(HEADER.size))
        return dict(json.loads(await self._reader.readexactly(size)))

    async def write(self, request: dict[str, Any]) -> None:
        body = json.dumps(request).encode()
        self._writer.write(HEADER.pack(len(body)) + body)
        await self._writer.drain()

    async def kill(self) -> None:
        if self._process is None:
            if self.pid is not None and self.alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
            self._writer.transport.abort()
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


class Pool:
    """Runs simulations, at most ``size`` at a time.

    Args:
        size: Largest number of processes; only the first is started at once.
        timeout: Real seconds after which one simulation is given up.
        log_file: Where the processes' standard error goes.
        simulators: Unix socket of ``ibm-quantum-emulator simulators``, whose processes are taken
            in place of own ones where it is there.
    """

    def __init__(
        self, size: int, timeout: float, log_file: Path, simulators: Path | None = None
    ) -> None:
        self._size = size
        self._simulators = simulators
        self._timeout = timeout
        self._errors = log_file.open("ab")
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        self._workers: set[_Worker] = set()
        self._spawning = self._waiting = 0
        self._background: set[asyncio.Task[None]] = set()
        self._closed = False

    def start(self) -> None:
        """Start the first process in the background."""
        self._spawn()

    async def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer ``{"ok": bool, "result" | "reason", "code"}``; never raises but
        for cancellation.
        """
        for _attempt in range(2):
            worker = await self._free()
            try:
                await worker.write(request)
                answer = await asyncio.wait_for(worker.read(), self._timeout)
            except TimeoutError:
                await self._replace(worker)
                reason = f"The simulation took more than {self._timeout:g} seconds."
                return {"ok": False, "reason": reason, "code": 1000}
            except (asyncio.IncompleteReadError, ConnectionError):
                log.warning("a simulator process died; starting another")
                await self._replace(worker)
                await self._replace_dead()
            except asyncio.CancelledError:
                self._in_background(self._drain(worker))
                raise
            else:
                self._idle.put_nowait(worker)
                return answer
        reason = "The simulator process died twice on this job, perhaps for lack of memory."
        return {"ok": False, "reason": reason, "code": 1000}

    async def close(self) -> None:
        """End all processes."""
        self._closed = True
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await asyncio.gather(*(worker.kill() for worker in self._workers))
        self._workers.clear()
        self._errors.close()

    async def _free(self) -> _Worker:
        # One that starts already is for the first who waits.
        room = len(self._workers) + self._spawning < self._size
        if room and self._idle.qsize() + self._spawning <= self._waiting:
            self._spawn()
        self._waiting += 1
        try:
            return await self._idle.get()
        finally:
            self._waiting -= 1

    def _spawn(self) -> None:
        self._spawning += 1
        self._in_background(self._add())

    async def _add(self) -> None:
        try:
            worker = await _Worker.start(self._errors, self._simulators)
        except Exception:
            log.exception("a simulator process did not start; see worker.log")
            await asyncio.sleep(1.0)
            self._in_background(self._add())
            return
        self._spawning -= 1
        self._workers.add(worker)
        self._idle.put_nowait(worker)

    async def _replace(self, worker: _Worker) -> None:
        self._workers.discard(worker)
        await worker.kill()
        if not self._closed:
            self._spawn()

    async def _replace_dead(self) -> None:
        # Whatever killed one may have killed others that nobody has missed yet.
        await asyncio.sleep(0.1)
        idle = [self._idle.get_nowait() for _ in range(self._idle.qsize())]
        for worker in idle:
            if worker.alive:
                self._idle.put_nowait(worker)
            else:
                await self._replace(worker)

    async def _drain(self, worker: _Worker) -> None:
        # Starting a process costs seconds, so an unwanted short simulation may end by itself.
        try:
            await asyncio.wait_for(worker.read(), _DRAIN_SECONDS)
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            await self._replace(worker)
        else:
            self._idle.put_nowait(worker)

    def _in_background(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
