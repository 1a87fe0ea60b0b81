"""One call of the port: a bounded thread, signed in, whose failures are recognised."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from adapters._threads import Threads
from adapters.ibm._account import Account, Connection
from adapters.ibm._errors import Trouble, recognise
from adapters.ibm._table import Kind
from adapters.ibm._wire import POOL, Call, GivenUp
from qsaga.core.errors import QsagaError
from qsaga.core.ports import Health

T = TypeVar("T")
_NO_ANSWER = frozenset({Kind.NOT_SENT, Kind.NO_REPLY, Kind.SERVER_ERROR, Kind.TOKEN_FILE})
_NOT_TOLD = frozenset({*_NO_ANSWER, Kind.RATE_LIMITED})
_FORBIDDEN = 403


class _Failed(Exception):
    """A call that came to nothing, and the connection that it was made on."""

    def __init__(self, trouble: Trouble, connection: Connection | None) -> None:
        super().__init__(trouble.text)
        self.trouble, self.connection = trouble, connection


class Calls:
    """Runs blocking work on the account.

    Args:
        account: hands out the connection.
        seconds: bound of each call.
    """

    def __init__(self, account: Account, seconds: float) -> None:
        self._account, self.seconds = account, seconds
        self._threads = Threads(POOL, "ibm-call")

    async def run(self, what: str, work: Callable[[Connection], T]) -> T:
        """Result of ``work``, its exceptions turned into our errors by the table.

        ``what`` names the call in messages.
        """
        call = self._call()
        try:
            return await self._bounded(call, work)
        except _Failed as failed:
            raise failed.trouble.error(what, submission_begun=call.submission_begun) from failed

    async def health(self, work: Callable[[Connection], object]) -> Health:
        """What trying ``work`` tells of the service."""
        began = time.monotonic()
        reachable, detail = True, ""
        authorised: bool | None = True
        try:
            await self._bounded(self._call(), work)
        except _Failed as failed:
            trouble = failed.trouble
            reachable, detail = trouble.kind not in _NO_ANSWER, trouble.text
            authorised = _authorised(trouble)
        except Exception as error:  # noqa: BLE001 - settings, or a defect: health never raises
            reachable, authorised, detail = False, None, str(error)
        return Health(
            reachable=reachable,
            authorised=authorised,
            seconds=time.monotonic() - began,
            detail=detail,
        )

    def _call(self) -> Call:
        # The thread stops a little before we stop waiting, so that it can say why.
        return Call(max(0.9 * self.seconds, self.seconds - 1.0))

    async def _bounded(self, call: Call, work: Callable[[Connection], T]) -> T:
        try:
            return await self._threads.run(lambda: self._attempt(call, work), self.seconds)
        except TimeoutError as error:
            begun = call.give_up()
            kind = Kind.NO_REPLY if begun or call.exchanges else Kind.NOT_SENT
            raise _Failed(Trouble(kind, f"given up after {self.seconds:g} s"), None) from error
        except asyncio.CancelledError:
            call.give_up()
            raise

    def _attempt(self, call: Call, work: Callable[[Connection], T]) -> T:
        with call.active():
            try:
                return self._connected(call, work)
            except _Failed as failed:
                if failed.trouble.kind is not Kind.UNAUTHORISED:
                    raise
                # 401 means that nothing was accepted, so that even a submission may go again.
                self._account.drop(failed.connection)
                call.restart()
            try:
                return self._connected(call, work)
            except _Failed as failed:
                if failed.trouble.kind is Kind.UNAUTHORISED:
                    self._account.drop(failed.connection)  # the next call reads them once more
                raise

    def _connected(self, call: Call, work: Callable[[Connection], T]) -> T:
        connection: Connection | None = None
        try:
            connection = self._account.connection(call)
            return work(connection)
        except (QsagaError, GivenUp):
            raise
        except Exception as error:
            raise _Failed(recognise(error, call), connection) from error


def _authorised(trouble: Trouble) -> bool | None:
    if trouble.kind in _NOT_TOLD:
        return None
    return trouble.kind is not Kind.UNAUTHORISED and trouble.status != _FORBIDDEN
