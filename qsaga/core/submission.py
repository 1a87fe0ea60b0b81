"""Submit or adopt: what may be done next for a submission, from what was seen of it.

The rule, for one key: nothing is sent while an earlier sending is undecided. A sending is written
down before it begins (``Intent``), and is decided when the provider lists a job under the key, when
it surely refused, or when the time has passed within which what it made can be found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal, Protocol

from pydantic import Field, model_validator

from qsaga.core.contract import Contract, StrictContract
from qsaga.core.ports import Capabilities, RemoteJob, RemoteState

SEND_WINDOW = 10.0
"""Seconds after the intent within which a sending must begin, or not at all."""


class Intent(Contract):
    """The durable record of what was sent under a tag.

    Args:
        sends: rises with each sending that is written down, and when the tag is closed to sending.
        last_sent_at: of the latest one that is not known to have been refused; None if there is
            no such one.
        closed: whoever asks may send no more.
    """

    sends: int = 0
    last_sent_at: datetime | None = None
    closed: bool = False


@dataclass(frozen=True)
class Adopt:
    """Jobs are there: ``kept`` stands for the submission, ``extras`` are to be ended and booked."""

    kept: RemoteJob
    extras: tuple[RemoteJob, ...]


@dataclass(frozen=True)
class Send:
    """Nothing is there and nothing can come any more: send, after writing the intent down."""


@dataclass(frozen=True)
class Wait:
    """An earlier sending may still show up; ``seconds`` until it must have."""

    seconds: float


@dataclass(frozen=True)
class Closed:
    """The submission is being ended: nobody sends."""


@dataclass(frozen=True)
class AskPerson:
    """The provider can never tell what became of an earlier sending."""

    reason: str


Move = Adopt | Send | Wait | Closed | AskPerson


def judge(
    found: Sequence[RemoteJob], intent: Intent, asked_at: datetime, capabilities: Capabilities
) -> Move:
    """What to do next.

    Args:
        found: the jobs that the provider lists under the key.
        intent: as it stood before the provider was asked.
        asked_at: when the provider was asked, on the clock of ``intent``.
        capabilities: of the provider.
    """
    if found:
        kept, *extras = sorted(found, key=_rank)
        return Adopt(kept, tuple(extras))
    if intent.closed:
        return Closed()
    if intent.last_sent_at is None or capabilities.idempotent:
        return Send()
    if not capabilities.searchable:
        return AskPerson(
            "a submission was begun, no reply came, and the provider cannot be asked for it by key"
        )
    left = undecided_for(intent, asked_at, capabilities)
    return Wait(left) if left > 0 else Send()


def undecided_for(intent: Intent, at: datetime, capabilities: Capabilities) -> float:
    """Seconds from ``at`` for which a job of the latest sending may still show up."""
    if intent.last_sent_at is None:
        return 0.0
    until = intent.last_sent_at + timedelta(seconds=SEND_WINDOW + capabilities.found_within)
    return max(0.0, (until - at).total_seconds())


def _rank(job: RemoteJob) -> bool:
    # One that can still answer beats one that ended badly; the sort keeps the oldest first.
    return job.state in (RemoteState.FAILED, RemoteState.CANCELLED)


class StatedCharge(StrictContract):
    """A charge by a person's word, where the provider cannot tell; in quantum seconds."""

    provider_job_id: Annotated[str, Field(min_length=1, max_length=128)]
    quantum_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Resolution(StrictContract):
    """What a person found out about a submission that could not be decided.

    Args:
        verdict: ``never_accepted``: the provider never had a job of it; ``jobs``: these are its
            jobs, to be ended and booked as the provider says; ``charged``: its jobs have ended
            and this is what they cost, whatever the provider says.
        jobs: for ``jobs``, the provider's ids.
        charges: for ``charged``.
        why: how that is known.
        by: who says so.
    """

    verdict: Literal["never_accepted", "jobs", "charged"]
    jobs: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] = ()
    charges: tuple[StatedCharge, ...] = ()
    why: Annotated[str, Field(min_length=1, max_length=1000)]
    by: str = ""

    @model_validator(mode="after")
    def _says_one_thing(self) -> Resolution:
        given = (bool(self.jobs), bool(self.charges))
        if given != (self.verdict == "jobs", self.verdict == "charged"):
            raise ValueError(
                f"verdict: {self.verdict!r} does not go with what else is given (allowed: 'jobs' "
                "with jobs, 'charged' with charges, 'never_accepted' with neither)"
            )
        return self


class Quarantined(Contract):
    """A submission that waits for a person.

    ``reason`` is why nobody else can decide, ``seen`` what the provider said of it last.
    """

    run_id: str
    job_id: str
    since: datetime
    reason: str
    intent: Intent
    seen: tuple[RemoteJob, ...] = ()
    resolution: Resolution | None = None


class WatchedRun(Contract):
    """A run that waits to be told when its remote job leaves ``state``.

    ``expected_start`` is None while nobody knows.
    """

    run_id: str
    provider_job_id: str
    state: RemoteState
    since: datetime
    expected_start: datetime | None = None


class Submissions(Protocol):
    """What was sent under each tag. Every write is one transaction and safe to repeat."""

    async def open(self, job_id: str, tag: str, by: str) -> Intent:
        """The record of a tag, made now if there is none; its account is open.

        ``by`` is the Temporal run that asks: for one that has closed the tag it stays closed, a
        later one may send again. Raises NoSuchJob, KeyConflict.
        """

    async def intent(self, tag: str) -> Intent:
        """The record of a tag; an empty one if nothing was ever written."""

    async def begin_send(self, tag: str, sends: int, at: datetime) -> bool:
        """Write down that a sending begins, if ``sends`` is still as it was when that was asked.

        Returns False if another attempt was there first, or the tag was closed: then nothing may
        be sent.
        """

    async def refused(self, tag: str, sends: int) -> None:
        """The sending of that ordinal was surely not accepted; a later one stands."""

    async def close(self, job_id: str, tag: str, by: str) -> Intent:
        """Whoever has seen the tag before, or asks for the same run, sends no more.

        Returns the record as it stands then.
        """

    async def watch(self, run: WatchedRun) -> None:
        """The run waits to be told of a change."""

    async def unwatch(self, run_id: str) -> None:
        """The run waits no more."""

    async def watched(self) -> tuple[WatchedRun, ...]:
        """Every run that waits so and whose account is open."""

    async def quarantine(self, case: Quarantined) -> bool:
        """Remember a case for a person. Returns whether it is a new one."""

    async def quarantined(self, tenant: str | None = None) -> tuple[Quarantined, ...]:
        """The cases whose account is open, oldest first."""

    async def resolve(self, run_id: str, resolution: Resolution) -> None:
        """What a person found out. Raises NoSuchJob if nobody waits for a word on it."""

    async def resolution(self, run_id: str) -> Resolution | None:
        """What a person found out, if anything."""
