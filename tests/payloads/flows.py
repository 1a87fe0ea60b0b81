"""A workflow whose input, step and result are all too large for Temporal."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError

MIB = 1024**2


@activity.defn
async def five_megabytes(given: str) -> str:
    """Something that was expensive: five megabytes, the word of the input all over."""
    word = given[:20]
    return word * (5 * MIB // len(word))


@workflow.defn(name="QuantumJob")  # a type that is looked for when Temporal has forgotten it
class Large:
    """Takes much, does much, returns much."""

    @workflow.run
    async def run(self, given: str) -> str:
        return await workflow.execute_activity(
            five_megabytes, given, start_to_close_timeout=timedelta(seconds=30)
        )


@workflow.defn
class Failing:
    """Fails with a message, details and a stack trace that quote its input."""

    @workflow.run
    async def run(self, given: str) -> None:
        raise ApplicationError(f"cannot: {given}", given, type="PolicyRefused", non_retryable=True)
