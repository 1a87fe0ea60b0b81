"""At most so much: slack bits that turn an inequality into an equation, and what a breach costs."""

from __future__ import annotations

from collections.abc import Iterable

MARGIN = 1.5
"""A penalty is what a breach can gain at most, times this.

Anything above 1 puts the best feasible solution lowest. A larger penalty drowns the objective in
the noise of hardware and slows annealing; half as much again leaves a clear gap.
"""


def slack_weights(most: int) -> tuple[int, ...]:
    """Weights of bits whose sums are exactly the whole numbers from 0 to ``most``.

    Powers of two and one remainder, so the bits grow with the logarithm and no sum is above
    ``most`` (Lucas 2014, arXiv:1302.5843, section 2.4).
    """
    weights: list[int] = []
    while (covered := sum(weights)) < most:
        weights.append(min(covered + 1, most - covered))
    return tuple(weights)


def extra_names(names: Iterable[str], word: str, count: int) -> tuple[str, ...]:
    """``word`` with a number, for variables that the input does not name; none is in ``names``."""
    taken = set(names)
    while any(f"{word} {index}" in taken for index in range(1, count + 1)):
        word += "'"
    return tuple(f"{word} {index}" for index in range(1, count + 1))
