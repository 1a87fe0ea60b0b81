"""What a run of the suite may use, and what it has used."""

from __future__ import annotations

from qsaga.core.ports import Usage


class LimitReached(Exception):
    """One more submission could use more than this run may."""


class Purse:
    """Keeps the quantum seconds of one run under a limit.

    Args:
        limit: quantum seconds of the whole run.
        before: what the account had used when the run began.
    """

    def __init__(self, limit: float, before: Usage) -> None:
        self.limit, self._before = limit, before
        self._charged: dict[str, float] = {}
        self._open: dict[str, float] = {}

    @property
    def charged(self) -> float:
        """What the ended jobs of this run have used."""
        return sum(self._charged.values())

    def check(self, most: float, now: Usage) -> None:
        """Refuse a submission that may use ``most`` seconds.

        Jobs that have not ended count with the most that they may use. What the account has used
        since the run began counts too, whoever used it, in case a charge is told there first.

        Raises:
            LimitReached: with what was used and what is left.
        """
        used = self.charged
        if now.consumed is not None and self._before.consumed is not None:
            used = max(used, now.consumed - self._before.consumed)
        used += sum(self._open.values())
        if used + most > self.limit:
            raise LimitReached(
                f"{used:g} s used or under way, {most:g} s more may pass the spending limit of "
                f"{self.limit:g} s"
            )
        if now.limit is not None and now.consumed is not None and now.consumed + most > now.limit:
            raise LimitReached(f"the account has used {now.consumed:g} s of its {now.limit:g} s")

    def began(self, job: str, most: float) -> None:
        """A job was sent."""
        self._open[job] = most

    def ended(self, job: str, charge: float | None) -> None:
        """A job has ended; while its charge is not told it counts with the most it may be."""
        if charge is not None:
            self._open.pop(job, None)
            self._charged[job] = charge
