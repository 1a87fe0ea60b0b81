"""A process that has imported everything, and workers forked from it in milliseconds."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from qsaga.settings import Settings
from tests.chaos.points import Point
from tests.support.forks import forks


@dataclass
class Forked:
    """A worker and what it says."""

    process: BaseProcess
    harness: Connection
    said: list[object] = field(default_factory=list)

    def listen(self, seconds: float) -> bool:
        """Take what it says, waiting so long at most. Returns whether it lives."""
        wait([self.harness, self.process.sentinel], seconds)
        alive = self.process.is_alive()
        # After the look: of one that is dead by then, also the last word is here.
        with suppress(EOFError, ConnectionResetError):
            while self.harness.poll():
                self.said.append(self.harness.recv())
        return alive

    def go_on(self) -> None:
        """The server that it waits for has been killed."""
        self.harness.send("done")

    def kill(self) -> None:
        """``kill -9``, unless it has died already."""
        self.process.kill()
        self.process.join()
        self.listen(0)
        self.harness.close()


class Nursery:
    """Forks workers."""

    def __init__(self) -> None:
        self._context = forks()

    async def fork(self, settings: Settings, order: Point | None, log: Path) -> Forked:
        """A worker that follows ``order``."""
        return await asyncio.to_thread(self._fork, settings, order, log)

    def _fork(self, settings: Settings, order: Point | None, log: Path) -> Forked:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=live_in_fork, args=(settings, order, theirs, log), daemon=True
        )
        process.start()
        theirs.close()
        return Forked(process, ours)


def live_in_fork(settings: Settings, order: Point | None, harness: Connection, log: Path) -> None:
    """What is imported here was imported before the fork; this process has not imported it."""
    # IBM's client reads it when it is asked for an account: the way to an emulator without a proxy.
    os.environ["QISKIT_FUNCTIONS_EXPERIMENTAL"] = "1"
    from tests.chaos.hooks import live

    live(settings, order, harness, log)
