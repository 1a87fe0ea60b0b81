"""What stands is listed: whole, once, in order, in few requests, whatever changes meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.ibm import IBMProvider, _listing
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.errors import TransientProviderError
from qsaga.core.ports import Compiled, RemoteState
from tests.adapters.ibm_wire import JOBS, Wire, edited, settings, submit

pytestmark = pytest.mark.timeout(60)
DEPLOYMENT = "qsaga:test"


class Changing:
    """A listing by offset of which some jobs end, and to which some come, after each page."""

    def __init__(self, jobs: int, changes: list[tuple[list[int], int]], most: int) -> None:
        self.names = [f"j{number:03}" for number in range(jobs)]
        self.standing, self.made = list(self.names), jobs
        self.changes, self.most, self.requests = list(changes), most, 0

    def jobs_get(self, limit: int, skip: int, **_: Any) -> dict[str, Any]:
        self.requests += 1
        page = self.names[skip : skip + min(limit, self.most)]
        count = len(self.names)
        ends, comes = self.changes.pop(0) if self.changes else ([], 0)
        for place in ends:
            if self.names:
                gone = self.names.pop(place % len(self.names))
                if gone in self.standing:
                    self.standing.remove(gone)
        for _ in range(comes):
            self.names.append(f"j{self.made:03}")
            self.made += 1
        return {
            "jobs": [{"id": name, "state": {"status": "Queued"}} for name in page],
            "count": count,
        }


@given(
    jobs=st.integers(0, 30),
    changes=st.lists(st.tuples(st.lists(st.integers(0, 29), max_size=12), st.integers(0, 3))),
    most=st.integers(2, 8),
)
def test_a_job_that_stands_all_the_while_is_listed_once(
    jobs: int, changes: list[tuple[list[int], int]], most: int
) -> None:
    client = Changing(jobs, changes, most)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_listing, "PAGE", 5)  # `most` may be less: a service that gives fewer
        found = [job.id for job in _listing.listed(client, "qsaga:x", pending=True)]
    assert len(found) == len(set(found))
    assert set(client.standing) <= set(found)


def test_a_quiet_list_takes_one_request_for_200_jobs() -> None:
    client = Changing(199, [], 200)
    assert len(list(_listing.listed(client, "qsaga:x"))) == 199
    assert client.requests == 1


async def test_all_pages_are_read_oldest_first_while_jobs_end(
    provider: IBMProvider,
    compiled: Compiled,
    wire: Wire,
    emulator: EmulatorProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_listing, "PAGE", 2)
    emulator.control.set_queue(length=50, seconds_per_job=60.0)
    ids = [(await submit(provider, compiled, f"qsaga:{n}")).provider_job_id for n in range(5)]
    assert [job.provider_job_id for job in await provider.find(DEPLOYMENT)] == ids
    other = IBMProvider(settings(emulator.url))

    def end_the_first_two(body: bytes) -> bytes:
        for job_id in ids[:2]:
            asyncio.run(other.cancel(job_id))
        return body

    wire.add("GET", JOBS, times=1, forward=True, rewrite=end_the_first_two)
    found = [job.provider_job_id for job in await provider.pending(DEPLOYMENT)]
    assert found == ids, "the first two were pending when their page was read"
    assert [job.provider_job_id for job in await provider.pending(DEPLOYMENT)] == ids[2:]
    assert len(await provider.find(DEPLOYMENT)) == 5


async def test_what_is_pending_in_one_deployment(
    provider: IBMProvider, compiled: Compiled, wire: Wire, emulator: EmulatorProcess
) -> None:
    emulator.control.set_queue(length=50, seconds_per_job=60.0)
    assert await provider.pending(DEPLOYMENT) == ()
    job = await submit(provider, compiled, "qsaga:waits")
    wire.log.clear()
    (found,) = await provider.pending(DEPLOYMENT)
    assert (found.provider_job_id, found.state) == (job.provider_job_id, RemoteState.QUEUED)
    assert found.tags == (DEPLOYMENT, "qsaga:waits")
    assert wire.count("GET", JOBS) == len(wire.log) == 1
    assert await provider.pending("qsaga:another") == ()

    def pondering(page: Any) -> None:
        page["jobs"][0]["state"]["status"] = "Pondering"

    wire.add("GET", JOBS, times=1, forward=True, rewrite=edited(pondering))
    (found,) = await provider.pending(DEPLOYMENT)
    assert found.state is RemoteState.UNKNOWN

    def ended(page: Any) -> None:
        page["jobs"][0]["state"]["status"] = "Completed"

    wire.add("GET", JOBS, times=1, forward=True, rewrite=edited(ended))
    assert await provider.pending(DEPLOYMENT) == (), "a listing that ignores the filter"


async def test_a_listing_that_lies_is_not_believed(
    provider: IBMProvider, compiled: Compiled, wire: Wire, emulator: EmulatorProcess
) -> None:
    emulator.control.set_queue(length=50, seconds_per_job=60.0)
    job = (await submit(provider, compiled, "qsaga:lies")).provider_job_id

    def counted(count: int) -> Any:
        return edited(lambda page: {**page, "count": count})

    def twice(page: Any) -> Any:
        return {**page, "jobs": page["jobs"] * 2}

    def renamed(body: bytes) -> bytes:
        return body.replace(b"qsaga:lies", b"qsaga:another")

    for rewrite, found in (
        (counted(999), [job]),
        (counted(0), [job]),
        (edited(twice), [job]),
        (renamed, []),
    ):
        fault = wire.add("GET", JOBS, forward=True, rewrite=rewrite)
        assert [j.provider_job_id for j in await provider.find("qsaga:lies")] == found
        wire.faults.remove(fault)
    wire.add("GET", JOBS, body=b'{"jobs": null}')
    with pytest.raises(TransientProviderError, match="schema drift: GET /jobs: jobs is null"):
        await provider.find("qsaga:lies")
