"""The emulator's own time."""

from __future__ import annotations

import logging
import time
from typing import Literal, Protocol

import httpx
from pydantic import BaseModel, ConfigDict, Field

from .errors import BadRequest

log = logging.getLogger(__name__)


class ClockState(BaseModel):
    """Where the clock stands; kept in the data directory.

    Attributes:
        mode: ``rate`` (wall clock times ``rate``), ``stepped`` (moves only when told) or
            ``followed`` (asks ``url``, which answers ``{"now": <epoch seconds>}``).
        anchor_wall: Wall clock at which the virtual time was ``anchor_now``, epoch seconds.
        anchor_now: Virtual time at the anchor; in the other modes the latest time known.
    """

    mode: Literal["rate", "stepped", "followed"] = "rate"
    rate: float = Field(1.0, gt=0)
    url: str | None = None
    anchor_wall: float = 0.0
    anchor_now: float = 0.0


class ClockPatch(BaseModel):
    """A change of the clock; absent fields stay as they are.

    ``step`` moves forward by so many virtual seconds, ``now`` to an absolute epoch time.
    """

    model_config = ConfigDict(extra="forbid")

    mode: Literal["rate", "stepped", "followed"] | None = None
    rate: float | None = Field(None, gt=0)
    url: str | None = None
    now: float | None = None
    step: float | None = Field(None, ge=0)


class TimeSource(Protocol):
    """Where an outside time comes from."""

    async def read(self, url: str) -> float:
        """Return epoch seconds or raise ``httpx.HTTPError``, ``ValueError`` or ``KeyError``."""
        ...


class HttpTime:
    """Reads ``{"now": <epoch seconds>}`` over HTTP on one kept-alive connection."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(timeout=5.0, trust_env=False)

    async def read(self, url: str) -> float:
        """Return epoch seconds; raises as :class:`TimeSource` says."""
        reply = await self._client.get(url)
        reply.raise_for_status()
        return float(reply.json()["now"])


class Clock:
    """Virtual time that never goes back.

    Args:
        state: State from the data directory, or a fresh one.
        source: Used in mode ``followed``.
    """

    def __init__(self, state: ClockState, source: TimeSource | None = None) -> None:
        self.state = state
        self._source = source or HttpTime()
        if not state.anchor_wall:
            state.anchor_wall = time.time()
            # A followed clock may show any date; its first answer is where time begins.
            state.anchor_now = 0.0 if state.mode == "followed" else state.anchor_wall

    @property
    def realtime(self) -> bool:
        """Whether virtual seconds are real seconds."""
        return self.state.mode == "rate" and self.state.rate <= 1.0

    @property
    def ticking(self) -> bool:
        """Whether time moves without anybody asking."""
        return self.state.mode == "rate"

    def local(self) -> float:
        """Return the latest time known without asking an outside clock."""
        state = self.state
        if state.mode != "rate":
            return state.anchor_now
        # A wall clock that is set back must not turn the virtual time back.
        return state.anchor_now + max(0.0, time.time() - state.anchor_wall) * state.rate

    async def now(self) -> float:
        """Return the virtual time in epoch seconds, asking the outside clock when followed.

        An outside clock that does not answer leaves the time where it was.
        """
        state = self.state
        if state.mode == "followed" and state.url:
            try:
                state.anchor_now = max(state.anchor_now, await self._source.read(state.url))
            except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
                log.warning("the clock at %s did not answer: %r", state.url, error)
        return self.local()

    def change(self, patch: ClockPatch) -> None:
        """Apply a change.

        Raises:
            BadRequest: It would turn time back, or follow nothing.
        """
        now = self.local()
        target = now if patch.now is None else patch.now
        target += patch.step or 0.0
        if target < now:
            raise BadRequest(f"the clock cannot go back from {now} to {target}")
        mode = patch.mode or self.state.mode
        url = patch.url or self.state.url
        if mode == "followed" and not url:
            raise BadRequest("mode 'followed' needs a url")
        self.state = ClockState(
            mode=mode,
            rate=patch.rate or self.state.rate,
            url=url,
            anchor_wall=time.time(),
            anchor_now=target,
        )
