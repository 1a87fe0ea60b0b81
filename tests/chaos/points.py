"""Where somebody is killed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

Side = Literal["before", "after"]
Victim = Literal["worker", "emulator", "temporal", "frontend", "history", "matching"]
VICTIMS: tuple[Victim, ...] = ("worker", "emulator", "temporal")
CLUSTER_VICTIMS: tuple[Victim, ...] = (*VICTIMS, "frontend", "history", "matching")
"""The last are services of Temporal; ``temporal`` is all of them and their database at once."""
SIDES: tuple[Side, ...] = ("before", "after")

_POINT = re.compile(rf"({'|'.join(CLUSTER_VICTIMS)}):({'|'.join(SIDES)}):([^#]+)#(\d+)")


@dataclass(frozen=True)
class Point:
    """Who is killed, and when: at the ``turn``-th time that a place is reached."""

    victim: Victim
    place: str
    turn: int
    side: Side

    def __str__(self) -> str:
        return f"{self.victim}:{self.side}:{self.place}#{self.turn}"

    @classmethod
    def of(cls, text: str) -> Point:
        """From its text. Raises ValueError."""
        found = _POINT.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no point (worker:before:submit/provider.submit#1)")
        victim, side, place, turn = found.groups()
        return cls(cast(Victim, victim), place, int(turn), cast(Side, side))
