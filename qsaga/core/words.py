"""Numbers, times and lists as people write them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal


def sentence(text: str) -> str:
    """With a capital letter in front and a full stop behind."""
    text = " ".join(text.split())
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def joined(parts: Sequence[str]) -> str:
    """Parts as people list them."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def number(count: int, word: str, more: str = "") -> str:
    """So many of a thing."""
    plural = word if count == 1 else word + ("es" if word.endswith("s") else "s")
    return " ".join(filter(None, (str(count), more, plural)))


def duration(seconds: float) -> str:
    """Seconds for people."""
    if abs(seconds) < 120:
        return f"{seconds:.3g} s"
    if abs(seconds) < 2 * 3600:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h"


def money(amount: Decimal, currency: str) -> str:
    """An amount to two places, or to as many as it takes where it would read as nothing."""
    cents = f"{amount:.2f}"
    return f"{cents if not amount or Decimal(cents) else f'{amount:f}'} {currency}"


def stamp(moment: datetime) -> str:
    """A moment, with its own time zone."""
    return f"{moment:%Y-%m-%d %H:%M:%S} {moment:%Z}".rstrip()


def at(moment: datetime) -> str:
    """The same within a sentence."""
    return f"at {stamp(moment)}"


def plain(name: str) -> str:
    """The name of a state as words."""
    return name.replace("_", " ")
