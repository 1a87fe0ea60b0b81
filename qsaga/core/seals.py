"""Seals: how what qsaga's own workflows send is told from what anybody else sends.

A seal is an HMAC with a secret that the workers of a deployment share. What it is about is part
of it, so that a seal that somebody read in a history opens nothing else.
"""

from __future__ import annotations

import hashlib
import hmac

from qsaga.core.contract import Contract, canonical_json
from qsaga.core.errors import InvalidRequest

INTERNAL_SIGNALS = frozenset({"run_reported", "give_up", "report_to_job"})
"""Signals that only one workflow of qsaga sends to another."""
CHECK_SEAL = "check_seal"
CHECK_CALLER = "check_caller"
"""Local activities by which a workflow asks; what they answer is in its history."""
SHORTEST_KEY = 32


class SealedSignal(Contract):
    """What a signal carries: who sent it, a word that he uses once, and the seal over both."""

    sender: str
    nonce: str
    mac: str


class SealCheck(Contract):
    """The question whether ``mac`` is the seal over ``about``."""

    about: tuple[str, ...]
    mac: str


def about_signal(sender: str, nonce: str, target: str, signal: str) -> tuple[str, ...]:
    """What the seal of a signal from one workflow to another is over."""
    return ("signal", sender, nonce, target, signal)


def about_child(parent: str, parent_run: str, child: str) -> tuple[str, ...]:
    """What the seal of a child workflow is over: ids, and the run id of the parent."""
    return ("child", parent, parent_run, child)


def about_step(workflow_id: str, step: str) -> tuple[str, ...]:
    """What the seal of an activity is over.

    Not the run id: a workflow that was reset has another one, and its steps go on.
    """
    return ("step", workflow_id, step)


def about_schedule(schedule_id: str, operation: str) -> tuple[str, ...]:
    """What the seal of an operation is over that a schedule asks for: all of it, as JSON."""
    return ("schedule", schedule_id, operation)


class SealKeys:
    """The secrets of a deployment: the first seals, every one of them opens."""

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._keys = keys

    @classmethod
    def parse(cls, text: str) -> SealKeys:
        """From the setting: one secret, or several with commas between them.

        Raises:
            InvalidRequest: one of them is too short.
        """
        keys = tuple(part.strip() for part in text.split(","))
        for number, key in enumerate(keys, 1):
            if len(key) < SHORTEST_KEY:
                raise InvalidRequest(
                    "identity.worker_key",
                    f"secret {number} of {len(keys)} has {len(key)} characters",
                    f"{SHORTEST_KEY} or more random characters",
                )
        return cls(tuple(key.encode() for key in keys))

    def seal(self, about: tuple[str, ...]) -> str:
        """The seal, 64 hex digits."""
        return _mac(self._keys[0], about)

    def holds(self, mac: str, about: tuple[str, ...]) -> bool:
        """Whether it is the seal over that by any of the secrets."""
        given = mac.encode(errors="replace")
        return any(hmac.compare_digest(_mac(key, about).encode(), given) for key in self._keys)


def _mac(key: bytes, about: tuple[str, ...]) -> str:
    return hmac.new(key, canonical_json(about).encode(), hashlib.sha256).hexdigest()
