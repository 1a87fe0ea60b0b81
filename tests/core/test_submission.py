"""What may be done next for a submission."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsaga.core.ports import Capabilities, RemoteJob, RemoteState
from qsaga.core.submission import (
    SEND_WINDOW,
    Adopt,
    AskPerson,
    Closed,
    Intent,
    Move,
    Send,
    Wait,
    judge,
    undecided_for,
)
from qsaga.core.timing import LONGEST_POLL, WATCH_REQUESTS, watch_interval

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
GRACE = Capabilities(found_within=30.0)


def sent(seconds_ago: float, *, closed: bool = False) -> Intent:
    return Intent(sends=1, last_sent_at=NOW - timedelta(seconds=seconds_ago), closed=closed)


def job(name: str, state: RemoteState = RemoteState.QUEUED) -> RemoteJob:
    return RemoteJob(provider_job_id=name, backend="b", state=state)


def moved(intent: Intent, *found: RemoteJob, capabilities: Capabilities = GRACE) -> Move:
    return judge(found, intent, NOW, capabilities)


def test_nothing_there_and_nothing_sent_is_sent() -> None:
    assert moved(Intent()) == Send()


def test_a_refused_sending_may_be_repeated_at_once() -> None:
    assert moved(Intent(sends=3)) == Send()


def test_a_sending_without_a_reply_is_waited_for() -> None:
    assert moved(sent(10.0)) == Wait(SEND_WINDOW + 30.0 - 10.0)


def test_once_it_must_be_listed_and_is_not_it_may_be_repeated() -> None:
    assert moved(sent(SEND_WINDOW + 30.0)) == Send()


def test_one_found_is_adopted_whatever_else_is_known() -> None:
    for intent in (Intent(), sent(1.0), sent(1.0, closed=True)):
        assert moved(intent, job("a")) == Adopt(job("a"), ())


def test_of_several_the_oldest_that_can_answer_is_kept() -> None:
    failed, first, second = job("f", RemoteState.FAILED), job("1"), job("2", RemoteState.RUNNING)
    assert moved(Intent(), failed, first, second) == Adopt(first, (second, failed))


def test_a_completed_one_is_as_good_as_one_at_work() -> None:
    cancelled, done = job("c", RemoteState.CANCELLED), job("d", RemoteState.COMPLETED)
    assert moved(Intent(), cancelled, done) == Adopt(done, (cancelled,))


def test_closed_sends_no_more() -> None:
    assert moved(Intent(sends=1, closed=True)) == Closed()
    assert moved(sent(1e6, closed=True)) == Closed()


def test_a_provider_that_knows_the_key_is_asked_again_by_sending_again() -> None:
    assert moved(sent(1.0), capabilities=Capabilities(idempotent=True)) == Send()


def test_where_nobody_can_look_a_person_is_asked() -> None:
    blind = Capabilities(searchable=False, found_within=5.0)
    assert isinstance(moved(sent(1e6), capabilities=blind), AskPerson)
    assert moved(Intent(), capabilities=blind) == Send()


@given(
    ago=st.floats(0, 1e4),
    within=st.floats(0, 1e3),
    sends=st.integers(1, 5),
    searchable=st.booleans(),
)
def test_nothing_is_sent_while_a_sending_is_undecided(
    ago: float, within: float, sends: int, searchable: bool
) -> None:
    capabilities = Capabilities(found_within=within, searchable=searchable)
    intent = Intent(sends=sends, last_sent_at=NOW - timedelta(seconds=ago))
    move = judge((), intent, NOW, capabilities)
    undecided = undecided_for(intent, NOW, capabilities)
    assert isinstance(move, Send) == (searchable and undecided == 0)


def test_the_watcher_looks_often_when_a_start_is_near_and_rarely_when_it_is_far() -> None:
    assert watch_interval([36000.0], [], 1) == LONGEST_POLL
    assert watch_interval([600.0, 36000.0], [], 1) == 60.0
    near = watch_interval([5.0], [], 1)
    assert near < 8.0
    assert watch_interval([-5.0], [], 1) == near, "about to start, by a forecast that was wrong"
    assert watch_interval([], [1.0], 1) == near
    assert watch_interval([], [500.0], 1) == 50.0


@pytest.mark.parametrize("runs", [1, 100, 1000, 10_000])
def test_the_watcher_stays_under_its_limit_of_requests(runs: int) -> None:
    requests = 1 + -(-runs // 200)
    looks = 3600 / watch_interval([0.0], [], runs)
    assert looks * requests <= WATCH_REQUESTS
    if runs >= 1000:
        assert looks * requests / runs <= 2
