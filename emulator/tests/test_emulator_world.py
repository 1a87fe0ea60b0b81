from __future__ import annotations

import pytest

from ibm_quantum_emulator.clock import Clock, ClockPatch, ClockState
from ibm_quantum_emulator.errors import BadRequest
from ibm_quantum_emulator.faults import Faults
from ibm_quantum_emulator.world import (
    QueueState,
    Waiting,
    ahead_now,
    charge,
    repositioned,
    starts,
)


def job(name: str, seq: int, ahead: float = 0, at: float = 0, duration: float = 3) -> Waiting:
    return Waiting(name, seq, ahead, at, duration)


def test_a_job_starts_when_those_ahead_are_done() -> None:
    queue = QueueState(length=10, seconds_per_job=60)
    assert starts([job("a", 1, ahead=10)], [], queue, 0) == [("a", 600)]


def test_own_jobs_run_one_after_the_other() -> None:
    plan = starts([job("b", 2), job("a", 1)], [5.0], QueueState(), 0)
    assert plan == [("a", 5), ("b", 8)]


def test_slots_run_jobs_side_by_side() -> None:
    plan = starts([job("a", 1), job("b", 2), job("c", 3)], [], QueueState(slots=2), 0)
    assert plan == [("a", 0), ("b", 0), ("c", 3)]


def test_fewer_slots_than_running_jobs_wait_for_the_last() -> None:
    assert starts([job("a", 1)], [5.0, 9.0, 7.0], QueueState(slots=1), 0) == [("a", 9)]


def test_nothing_starts_in_the_past() -> None:
    assert starts([job("a", 1)], [], QueueState(), 100) == [("a", 100)]


def test_the_queue_ahead_shrinks_with_time() -> None:
    assert ahead_now(job("a", 1, ahead=10), 60, 300) == 5
    assert ahead_now(job("a", 1, ahead=10), 60, 6000) == 0


@pytest.mark.parametrize(("requeue", "left"), [(None, 2), (True, 2), (False, 5)])
def test_a_shorter_queue(requeue: bool | None, left: float) -> None:
    old = QueueState(length=10, seconds_per_job=60)
    new = QueueState(length=2, seconds_per_job=60)
    assert repositioned(job("a", 1, ahead=10), old, new, requeue, 300) == left


def test_a_longer_queue_pushes_back_only_when_asked() -> None:
    old, new = QueueState(length=0), QueueState(length=9)
    assert repositioned(job("a", 1, ahead=0), old, new, None, 0) == 0
    assert repositioned(job("a", 1, ahead=0), old, new, True, 0) == 9


def test_charges_round_up() -> None:
    assert [charge(x) for x in (0, 0.1, 2.0, 2.0000000001, 2.27)] == [0, 1, 2, 2, 3]


def test_a_stepped_clock_moves_only_forward() -> None:
    clock = Clock(ClockState(mode="stepped", anchor_wall=1, anchor_now=1000))
    assert clock.local() == 1000
    clock.change(ClockPatch(step=5))
    assert clock.local() == 1005
    with pytest.raises(BadRequest):
        clock.change(ClockPatch(now=1004))


class Outside:
    def __init__(self) -> None:
        self.answers: list[float | Exception] = [50.0, ValueError("broken"), 40.0, 70.0]

    async def read(self, url: str) -> float:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.asyncio
async def test_a_followed_clock_never_goes_back_and_survives_silence() -> None:
    state = ClockState(mode="followed", url="http://x", anchor_wall=1, anchor_now=10)
    clock = Clock(state, Outside())
    assert [await clock.now() for _ in range(4)] == [50, 50, 50, 70]


def test_failures_are_used_up() -> None:
    faults = Faults().patched({"fail_next": {"count": 1, "tag": "x", "reason": "no"}})
    assert faults.take_failure(["y"], "b") is None
    assert faults.take_failure(["x"], "b") is not None
    assert faults.take_failure(["x"], "b") is None
