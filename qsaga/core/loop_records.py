"""What is kept of variational loops."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from qsaga.core.contract import Contract
from qsaga.core.loops import LoopResult


class LoopOpening(Contract):
    """A loop that was admitted; ``guarded``: who speaks to it must prove who he is.

    None is not known: it was written down again from what Temporal holds.
    """

    loop_id: str
    tenant: str
    payload_hash: str
    at: datetime
    guarded: bool | None = None


class LoopRecords(Protocol):
    """The table of loops. Every write is one transaction and safe to repeat."""

    async def open(self, opening: LoopOpening) -> None:
        """A row for a loop.

        Raises KeyConflict if the id has another payload, or its loop was forgotten.
        """

    async def close(self, result: LoopResult) -> None:
        """How it ended. The first result stands. Raises NoSuchJob."""

    async def get(self, loop_id: str) -> LoopResult | None:
        """How it ended; None if it has not, is forgotten, or nothing is known of it."""

    async def guarded(self, loop_id: str) -> bool | None:
        """Whether it was admitted as a guarded one; None if that is not known."""

    async def known(self, loop_id: str) -> bool:
        """Whether there is a row of it, forgotten or not."""

    async def at_work(self) -> Sequence[str]:
        """Loops that have not ended and are not forgotten, by id."""

    async def forget(self, loop_id: str, at: datetime) -> bool:
        """Delete what it said and answered; its key stays taken. Returns whether it was known."""

    async def closed_before(self, tenant: str | None, moment: datetime) -> Sequence[str]:
        """Loops that were closed before ``moment`` and are not forgotten, by id."""
