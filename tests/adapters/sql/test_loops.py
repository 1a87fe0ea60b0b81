"""How loops ended, in SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql import SqlLoopRecords
from qsaga.core.errors import KeyConflict, NoSuchJob
from qsaga.core.loop_records import LoopOpening
from qsaga.core.loops import LoopResult, OptimiserSpec
from qsaga.core.results import Unanswered
from qsaga.core.states import JobState

pytestmark = pytest.mark.asyncio

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)


def opening(key: str = "k", **changes: object) -> LoopOpening:
    given = {
        "loop_id": f"acme/loop/{key}",
        "tenant": "acme",
        "payload_hash": "a" * 64,
        "at": AT,
    }
    return LoopOpening.model_validate(given | changes)


def ended(key: str = "k", **changes: object) -> LoopResult:
    given = {
        "loop_id": f"acme/loop/{key}",
        "tenant": "acme",
        "key": key,
        "payload_hash": "a" * 64,
        "state": JobState.FAILED,
        "stopped": "failed",
        "reason": "a test",
        "unanswered": Unanswered(reason="a test"),
        "optimiser": OptimiserSpec(),
        "began": AT,
        "ended": AT + timedelta(hours=1),
    }
    return LoopResult.model_validate(given | changes)


@pytest.fixture
def loops(engine: AsyncEngine) -> SqlLoopRecords:
    return SqlLoopRecords(engine)


@pytest.mark.parametrize("guarded", [True, False])
async def test_one_written_down_again_learns_at_its_admission_whether_it_is_guarded(
    loops: SqlLoopRecords, guarded: bool
) -> None:
    await loops.open(opening())
    with pytest.raises(KeyConflict):
        await loops.open(opening(guarded=guarded, payload_hash="b" * 64))
    assert await loops.guarded("acme/loop/k") is None
    await loops.open(opening(guarded=guarded))
    await loops.open(opening())
    await loops.open(opening(guarded=not guarded))
    assert await loops.guarded("acme/loop/k") is guarded


async def test_the_first_result_stands(loops: SqlLoopRecords) -> None:
    assert await loops.get("acme/loop/k") is None
    assert await loops.guarded("acme/loop/k") is None
    with pytest.raises(NoSuchJob, match="never opened"):
        await loops.close(ended())
    await loops.open(opening(guarded=True))
    await loops.open(opening(guarded=True))
    assert await loops.guarded("acme/loop/k") is True
    assert await loops.get("acme/loop/k") is None
    await loops.close(ended())
    await loops.close(ended(reason="another"))
    assert await loops.get("acme/loop/k") == ended()
    with pytest.raises(KeyConflict, match="another payload"):
        await loops.open(opening(payload_hash="b" * 64))


async def test_of_a_loop_that_was_written_down_again_it_is_not_known_who_may_speak(
    loops: SqlLoopRecords,
) -> None:
    assert not await loops.known("acme/loop/k")
    await loops.open(opening())
    assert await loops.known("acme/loop/k")
    assert await loops.guarded("acme/loop/k") is None


async def test_loops_that_have_not_ended_are_at_work(loops: SqlLoopRecords) -> None:
    for key in ("ended", "forgotten", "open"):
        await loops.open(opening(key))
    await loops.close(ended("ended"))
    await loops.forget("acme/loop/forgotten", AT)
    assert list(await loops.at_work()) == ["acme/loop/open"]


async def test_what_is_forgotten_is_gone_and_its_key_stays_taken(loops: SqlLoopRecords) -> None:
    assert not await loops.forget("acme/loop/k", AT)
    await loops.open(opening())
    await loops.close(ended())
    assert await loops.forget("acme/loop/k", AT)
    assert await loops.forget("acme/loop/k", AT)
    assert await loops.get("acme/loop/k") is None
    await loops.close(ended())
    assert await loops.get("acme/loop/k") is None, "a late step of the loop"
    with pytest.raises(KeyConflict, match="forgotten"):
        await loops.open(opening())


async def test_closed_before(loops: SqlLoopRecords) -> None:
    for key, tenant, hours in (("a", "acme", 1), ("b", "acme", 3), ("c", "other", 1)):
        await loops.open(opening(key, tenant=tenant))
        await loops.close(ended(key, tenant=tenant, ended=AT + timedelta(hours=hours)))
    await loops.open(opening("running"))
    moment = AT + timedelta(hours=2)
    assert list(await loops.closed_before("acme", moment)) == ["acme/loop/a"]
    assert list(await loops.closed_before(None, moment)) == ["acme/loop/a", "acme/loop/c"]
    await loops.forget("acme/loop/a", AT)
    assert list(await loops.closed_before("acme", moment)) == []
