"""What an instance may use, and what is refused beyond it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from .errors import ApiError, BadRequest

if TYPE_CHECKING:
    from .config import InstanceSpec

DAY = 86_400.0
# Numbers of an older API of the service; the present ones are not public.
_USED_UP, _TOO_MANY_PENDING = 4317, 3458


class Limits(BaseModel):
    """Limits of an instance; None is no limit.

    Attributes:
        allocation_seconds: Seconds allotted, only reported.
        limit_seconds: Seconds after which submissions are refused.
        period_days: Use counts for so many days; for ever when absent.
        max_pending_jobs: Queued and running jobs at a time.
        max_execution_seconds: Longest maximum execution time of a job, also the default.
        max_session_seconds: Longest ``max_ttl`` of a session, also the default.
        interactive_seconds: Idle time after which a session becomes inactive.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    allocation_seconds: int = Field(36_000, ge=0)
    limit_seconds: int | None = Field(36_000, ge=0)
    period_days: float | None = Field(None, gt=0)
    max_pending_jobs: int | None = Field(None, ge=1)
    max_execution_seconds: float | None = Field(None, gt=0)
    max_session_seconds: float = Field(28_800.0, gt=0)
    interactive_seconds: float = Field(60.0, gt=0)


class LimitsPatch(BaseModel):
    """Fields of :class:`Limits` that differ; None takes a limit away where that is possible."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    allocation_seconds: int | None = Field(None, ge=0)
    limit_seconds: int | None = Field(None, ge=0)
    period_days: float | None = Field(None, gt=0)
    max_pending_jobs: int | None = Field(None, ge=1)
    max_execution_seconds: float | None = Field(None, gt=0)
    max_session_seconds: float | None = Field(None, gt=0)
    interactive_seconds: float | None = Field(None, gt=0)

    def given(self) -> dict[str, Any]:
        """Return the fields that were given; those that cannot be None only with a value."""
        fields = self.model_dump(exclude_unset=True)
        return {k: v for k, v in fields.items() if v is not None or k in _MAY_BE_NONE}


_MAY_BE_NONE = ("limit_seconds", "period_days", "max_pending_jobs", "max_execution_seconds")


class LimitBook:
    """The limits of all instances.

    Args:
        instances: Those that have a name; any other CRN gets what holds for ``*``.
        common: Limits of every instance.
        own: Name to what differs for that instance.
    """

    def __init__(
        self,
        instances: Iterable[InstanceSpec],
        common: Limits,
        own: dict[str, LimitsPatch] | None = None,
    ) -> None:
        self._names = {spec.crn: spec.name for spec in instances}
        self.common = common
        self.own = own or {}

    def of(self, crn: str) -> Limits:
        """Return the limits of an instance."""
        patch = self.own.get(self._names.get(crn, ""))
        return self.common if patch is None else self.common.model_copy(update=patch.given())

    def checked(self, name: str) -> None:
        """Raise :class:`~.errors.BadRequest` unless there is such an instance (or ``*``)."""
        names = ["*", *self._names.values()]
        if name not in names:
            raise BadRequest(f"no instance {name!r}; there are {', '.join(names)}")

    def patched(self, name: str, patch: LimitsPatch) -> LimitBook:
        """Return the book with a change for one instance, or for all with ``*``."""
        common, own = self.common, dict(self.own)
        if name == "*":
            common = common.model_copy(update=patch.given())
        else:
            before = own.get(name, LimitsPatch()).given()
            own[name] = LimitsPatch.model_validate({**before, **patch.given()})
        book = LimitBook((), common, own)
        book._names = self._names
        return book

    def dump(self) -> dict[str, Any]:
        """Return ``{"*": limits, <name>: what differs}``."""
        own = {name: patch.model_dump(exclude_unset=True) for name, patch in self.own.items()}
        return {"*": self.common.model_dump(), **own}

    def loaded(self, document: dict[str, Any]) -> LimitBook:
        """Return the book that :meth:`dump` wrote, for the same instances."""
        own = {k: LimitsPatch.model_validate(v) for k, v in document.items() if k != "*"}
        book = LimitBook((), Limits.model_validate(document["*"]), own)
        book._names = self._names
        return book


def refuse(limits: Limits, consumed: float, pending: int, seconds: float | None) -> None:
    """Refuse a submission beyond the limits.

    Args:
        consumed: Seconds that count against the instance.
        pending: Its queued and running jobs.
        seconds: Maximum execution time asked for.

    Raises:
        ApiError: 403 for use and number of jobs, 400 for the time.
    """
    if limits.limit_seconds is not None and consumed >= limits.limit_seconds:
        raise ApiError(
            403,
            f"This instance has met its usage limit: {consumed:g} of {limits.limit_seconds}"
            " seconds are used.",
            _USED_UP,
        )
    if limits.max_pending_jobs is not None and pending >= limits.max_pending_jobs:
        raise ApiError(
            403,
            f"This instance has reached its maximum of {limits.max_pending_jobs} pending jobs.",
            _TOO_MANY_PENDING,
        )
    longest = limits.max_execution_seconds
    if longest is not None and seconds is not None and seconds > longest:
        raise BadRequest(f"cost: at most {longest:g} seconds are allowed, {seconds:g} are asked.")
