"""The rules of a fault plan: models only, nothing happens here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from .endpoints import ENDPOINTS
from .model import from_iso

When = Literal["before", "after"]

_RELATIVE = re.compile(r"\+\d+(\.\d+)?")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# The server writes these itself; others would make the reply unreadable instead of wrong.
_OWN_HEADERS = ("content-length", "transfer-encoding", "connection")


def _moment(value: Any) -> Any:
    if isinstance(value, datetime):
        value = value if value.tzinfo else value.replace(tzinfo=UTC)
        return value.timestamp()
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and not _RELATIVE.fullmatch(value):
        try:
            return from_iso(value)
        except ValueError as error:
            raise ValueError(
                "epoch seconds, a date in ISO 8601, or '+N' for N seconds after the rule was set"
            ) from error
    return value


Moment = Annotated[float | str, BeforeValidator(_moment)]
"""Virtual epoch seconds, or ``+N``: so many virtual seconds after the rule was set."""


def _endpoints(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _known(names: list[str]) -> list[str]:
    for name in names:
        if name != "*" and name not in ENDPOINTS:
            raise ValueError(f"{name!r} is no endpoint; allowed: {', '.join(ENDPOINTS)}, *")
    if not names:
        raise ValueError("at least one endpoint is expected")
    return names


class Rule(BaseModel):
    """What all rules have.

    Attributes:
        name: What the rule is called in ground truth and log; its place when absent.
        on: Endpoints it holds for.
        job: Only for this job.
        tag: Only for jobs, submissions and listings with this tag; with ``*`` at the end, with
            a tag that begins so.
        backend: Only for this backend.
        after: So many matches are let pass first.
        count: How often it fires; None: always.
        probability: Of firing; decided by seed, rule and ordinal of the match.
        per_job: ``after``, ``count`` and ``probability`` hold for each job apart; for
            submissions, which have no id yet, for each set of tags.
        start, until: Window of virtual time.
        lasting: Virtual seconds from ``start``, or from when the rule was set.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    # Which moment of a request's life decides it, where it can apply, where it does by default.
    phase: ClassVar[str]
    allowed: ClassVar[Sequence[str]] = ENDPOINTS
    usual: ClassVar[Sequence[str]] = ()
    usual_count: ClassVar[int | None] = None

    name: str = Field("", max_length=100)
    on: Annotated[list[str], BeforeValidator(_endpoints), AfterValidator(_known)] = []
    job: str | None = None
    tag: str | None = Field(None, min_length=1)
    backend: str | None = None
    after: int = Field(0, ge=0)
    count: int | None = Field(None, ge=0)
    probability: float = Field(1.0, ge=0, le=1)
    per_job: bool = False
    start: Moment | None = Field(None, alias="from")
    until: Moment | None = None
    lasting: float | None = Field(None, gt=0, alias="for")

    @field_validator("on")
    @classmethod
    def _possible(cls, names: list[str]) -> list[str]:
        for name in names:
            if name != "*" and name not in cls.allowed:
                raise ValueError(
                    f"{name!r} is not possible with this 'do'; allowed: {', '.join(cls.allowed)}"
                )
        return names

    @model_validator(mode="after")
    def _complete(self) -> Rule:
        if not self.on and not self.usual:
            raise ValueError("on: this field is missing")
        if self.until is not None and self.lasting is not None:
            raise ValueError("'until' and 'for' exclude each other")
        return self

    @property
    def endpoints(self) -> Sequence[str]:
        """Endpoints it holds for."""
        if "*" in self.on:
            return self.allowed
        return self.on or self.usual

    @property
    def times(self) -> int | None:
        """How often it fires; None: always."""
        return self.usual_count if self.count is None else self.count


class Drop(Rule):
    """The connection is closed without a byte of reply."""

    phase: ClassVar[str] = "request"
    do: Literal["drop"]
    when: When = "before"


class Answer(Rule):
    """Another answer than the true one; without ``body`` or ``json`` an error envelope from 400."""

    phase: ClassVar[str] = "request"
    do: Literal["answer"]
    when: When = "before"
    status: int = Field(ge=200, le=599)
    body: str | None = None
    document: Any = Field(None, alias="json")
    headers: dict[str, str] = {}

    @field_validator("headers")
    @classmethod
    def _writable(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER.fullmatch(name) or name.lower() in _OWN_HEADERS:
                raise ValueError(f"{name!r} cannot be set; any but {', '.join(_OWN_HEADERS)} can")
            if not (value.isascii() and value.isprintable()):
                raise ValueError(f"{name}: printable ASCII is expected")
        return headers

    @model_validator(mode="after")
    def _one_body(self) -> Answer:
        if self.body is not None and self.document is not None:
            raise ValueError("'body' and 'json' exclude each other")
        return self


class Outage(Rule):
    """The service is away."""

    phase: ClassVar[str] = "request"
    usual: ClassVar[Sequence[str]] = ENDPOINTS
    do: Literal["outage"]
    status: int = Field(503, ge=400, le=599)


class Stall(Rule):
    """Real seconds of silence before the request is handled or before its reply."""

    phase: ClassVar[str] = "request"
    do: Literal["stall"]
    when: When = "before"
    seconds: float = Field(ge=0, le=3600)


class Drip(Rule):
    """The true reply arrives in pieces over so many real seconds."""

    phase: ClassVar[str] = "request"
    do: Literal["drip"]
    seconds: float = Field(ge=0, le=3600)


class Malformed(Rule):
    """The true reply cut off at a fraction of its body, or another text in its place."""

    phase: ClassVar[str] = "request"
    do: Literal["malformed"]
    fraction: float | None = Field(None, ge=0, lt=1)
    text: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Malformed:
        if (self.fraction is None) == (self.text is None):
            raise ValueError("exactly one of 'fraction' and 'text' is expected")
        return self


class Fail(Rule):
    """An accepted job ends as Failed."""

    phase: ClassVar[str] = "accepted"
    allowed: ClassVar[Sequence[str]] = ("submit",)
    usual: ClassVar[Sequence[str]] = allowed
    do: Literal["fail"]
    reason: str = "Internal error."
    reason_code: int = 1000
    charged: bool = False


class ListLate(Rule):
    """An accepted job appears in listings only so many virtual seconds later.

    ``direct``: until then ``GET /jobs/{id}`` answers 404, too.
    """

    phase: ClassVar[str] = "accepted"
    allowed: ClassVar[Sequence[str]] = ("submit",)
    usual: ClassVar[Sequence[str]] = allowed
    do: Literal["list_late"]
    seconds: float = Field(gt=0)
    direct: bool = False


class ListMissing(Rule):
    """Jobs are left out of a listing; ``counted``: its count still has them."""

    phase: ClassVar[str] = "listing"
    allowed: ClassVar[Sequence[str]] = ("list",)
    usual: ClassVar[Sequence[str]] = allowed
    do: Literal["list_missing"]
    counted: bool = False


class ListTwice(Rule):
    """Jobs appear twice in a listing; ``counted``: its count has both."""

    phase: ClassVar[str] = "listing"
    allowed: ClassVar[Sequence[str]] = ("list",)
    usual: ClassVar[Sequence[str]] = allowed
    do: Literal["list_twice"]
    counted: bool = True


class ListCount(Rule):
    """A listing's count is off by ``by``; never below 0."""

    phase: ClassVar[str] = "count"
    allowed: ClassVar[Sequence[str]] = ("list",)
    usual: ClassVar[Sequence[str]] = allowed
    do: Literal["list_count"]
    by: int


class ShowStatus(Rule):
    """A job is shown with another status than it has."""

    phase: ClassVar[str] = "shown"
    allowed: ClassVar[Sequence[str]] = ("job", "list")
    usual: ClassVar[Sequence[str]] = allowed
    do: Literal["show_status"]
    text: str


class ResultGone(Rule):
    """The result of a completed job is not handed out."""

    phase: ClassVar[str] = "result"
    allowed: ClassVar[Sequence[str]] = ("result",)
    usual: ClassVar[Sequence[str]] = allowed
    do: Literal["result_gone"]
    status: Literal[204, 404, 410] = 204


class ResultLate(Rule):
    """The result can be had only so many virtual seconds after the job completed."""

    phase: ClassVar[str] = "result"
    allowed: ClassVar[Sequence[str]] = ("result",)
    usual: ClassVar[Sequence[str]] = allowed
    do: Literal["result_late"]
    seconds: float = Field(gt=0)
    status: Literal[204, 404] = 204


class CancelLosesRace(Rule):
    """A cancel is answered but comes too late: the job completes and is charged."""

    phase: ClassVar[str] = "cancel"
    allowed: ClassVar[Sequence[str]] = ("cancel",)
    usual: ClassVar[Sequence[str]] = allowed
    do: Literal["cancel_loses_race"]
    reply: Literal[204, 409] = 204


class TokenLifetime(Rule):
    """Tokens live so many real seconds; not ``told``: they claim to live an hour."""

    phase: ClassVar[str] = "token"
    allowed: ClassVar[Sequence[str]] = ("token",)
    usual: ClassVar[Sequence[str]] = allowed
    do: Literal["token_lifetime"]
    seconds: float = Field(gt=0)
    told: bool = True


class ExpireTokens(Rule):
    """Tokens issued until the matching request are not accepted any more; once by default."""

    phase: ClassVar[str] = "identity"
    usual: ClassVar[Sequence[str]] = ENDPOINTS
    usual_count: ClassVar[int | None] = 1
    do: Literal["expire_tokens"]


class RevokeKey(Rule):
    """An API key and its tokens are refused."""

    phase: ClassVar[str] = "key"
    usual: ClassVar[Sequence[str]] = ENDPOINTS
    do: Literal["revoke_key"]
    key: str


AnyRule = Annotated[
    Drop
    | Answer
    | Outage
    | Stall
    | Drip
    | Malformed
    | Fail
    | ListLate
    | ListMissing
    | ListTwice
    | ListCount
    | ShowStatus
    | ResultGone
    | ResultLate
    | CancelLosesRace
    | TokenLifetime
    | ExpireTokens
    | RevokeKey,
    Field(discriminator="do"),
]
