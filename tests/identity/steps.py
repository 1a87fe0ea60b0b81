"""The activities of the small workflows."""

from __future__ import annotations

import asyncio

from temporalio import activity

from activities.identified import current_caller, require_seal


class Steps:
    """``open`` lets admissions through; ``submitted`` counts what must never be had for nothing."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.submitted = 0

    @activity.defn
    async def admit(self) -> str | None:
        await self.open.wait()
        caller = current_caller()
        return caller.subject if caller else None

    @activity.defn
    async def review(self) -> str | None:
        caller = current_caller()
        return caller.subject if caller else None

    @activity.defn
    async def submit(self) -> str:
        require_seal()
        self.submitted += 1
        return "submitted"
