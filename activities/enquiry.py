"""What a provider offers now, asked with a little patience."""

from __future__ import annotations

import asyncio
import time

from activities.running import seconds_remaining
from qsaga.core.errors import TransientProviderError
from qsaga.core.facts import BackendFacts
from qsaga.core.jobs import Budgets
from qsaga.core.ports import QuantumProvider
from qsaga.core.states import Layer

LONGEST = 10.0
"""Seconds of patience, at most."""
PAUSES = (0.1, 0.2)
"""Before the second and the third try, as shares of the patience."""


def patience(budgets: Budgets) -> float:
    """Seconds that a job waits out a provider which cannot be reached: at most ``LONGEST``.

    No more than a quarter of what its admission has left, nor a tenth of its deadline: another
    rung has to answer within that.
    """
    left = seconds_remaining()
    admit = budgets.seconds(Layer.ADMIT) if left is None else max(left, 0.0)
    return min(LONGEST, admit / 4, budgets.seconds(Layer.DEADLINE) / 10)


async def offered(provider: QuantumProvider, seconds: float) -> tuple[BackendFacts, ...]:
    """All backends; what may pass is waited out, by three tries within ``seconds``.

    The first try takes as long as the provider lets a call take, the others no longer than what
    is left. Zero seconds are one try.

    Raises:
        ProviderError: what the last try said that came to an end.
    """
    until = time.monotonic() + seconds
    try:
        return await provider.backends()
    except TransientProviderError as error:
        said = error
    for share in PAUSES:
        pause = max(share * seconds, said.retry_after or 0.0)
        if time.monotonic() + pause >= until:
            break
        await asyncio.sleep(pause)
        try:
            async with asyncio.timeout(until - time.monotonic()):
                return await provider.backends()
        except TransientProviderError as error:
            said = error
        except TimeoutError:
            break
    raise said
