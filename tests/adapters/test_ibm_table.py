"""Every row of the table of errors, made by the emulator's fault plan or on a wire before it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapters.ibm import ROWS, IBMProvider, Kind, Row
from ibm_quantum_emulator.process import EmulatorProcess
from qsaga.core.errors import NoSuchRemoteJob, QsagaError, TransientProviderError
from qsaga.core.ports import Compiled, RemoteState
from tests.adapters.ibm_wire import (
    BACKEND,
    JOBS,
    SPEC,
    TAG,
    Wire,
    completed,
    ended,
    ghz,
    key,
    packed,
    settings,
    submit,
)

pytestmark = pytest.mark.timeout(60)


@dataclass
class Bench:
    """What a case needs; ``wired`` speaks to the emulator over ``wire``."""

    provider: IBMProvider
    wired: IBMProvider
    wire: Wire
    emulator: EmulatorProcess
    compiled: Compiled
    folder: Path

    async def ready(self, **given: Any) -> IBMProvider:
        """A provider of its own that has signed in and has the backend at hand."""
        made = IBMProvider(settings(self.emulator.url, **given))
        await submit(made, self.compiled)
        self.emulator.control.reset()
        return made


@pytest.fixture(scope="module")
def direct(ibm_emulator_process: EmulatorProcess) -> IBMProvider:
    return IBMProvider(settings(ibm_emulator_process.url))


@pytest.fixture
def bench(
    direct: IBMProvider,
    provider: IBMProvider,
    wire: Wire,
    emulator: EmulatorProcess,
    compiled: Compiled,
    tmp_path: Path,
) -> Bench:
    return Bench(direct, provider, wire, emulator, compiled, tmp_path)


Case = Callable[[Bench], Awaitable[object]]
"""Does what is to fail in the way that the row says, or asserts what is answered."""


def find(*rules: dict[str, Any]) -> Case:
    """A look-up under a fault plan."""

    async def case(bench: Bench) -> object:
        bench.emulator.control.set_plan(*({"on": "list", **rule} for rule in rules))
        return await bench.provider.find(TAG)

    return case


def send(*rules: dict[str, Any]) -> Case:
    """A submission under a fault plan."""

    async def case(bench: Bench) -> object:
        bench.emulator.control.set_plan(*({"on": "submit", **rule} for rule in rules))
        return await submit(bench.provider, bench.compiled)

    return case


def fetch(rule: dict[str, Any]) -> Case:
    """A result under a fault plan."""

    async def case(bench: Bench) -> object:
        job = await completed(bench.provider, bench.compiled)
        bench.emulator.control.set_plan({"on": "result", **rule})
        return await bench.provider.result(job)

    return case


def answer(status: int = 200, **more: Any) -> dict[str, Any]:
    """Another answer in place of the true one."""
    return {"do": "answer", "status": status, **more}


def cut(method: str, call: Callable[[IBMProvider, Compiled], Awaitable[object]]) -> Case:
    """A reply of which the end never arrives; a fault plan has none such."""

    async def case(bench: Bench) -> object:
        bench.wire.add(method, JOBS, forward=True, cut=5)
        return await call(bench.wired, bench.compiled)

    return case


def look_up(provider: IBMProvider, compiled: Compiled) -> Awaitable[object]:
    return provider.find(TAG)


async def nobody_listens(bench: Bench) -> object:
    return await IBMProvider(settings("http://127.0.0.1:9")).find(TAG)


async def nobody_listens_any_more(bench: Bench) -> object:
    gone = Wire(bench.emulator.url)
    provider = IBMProvider(settings(gone.url))
    await submit(provider, bench.compiled)
    gone.close()
    return await submit(provider, bench.compiled)


async def identity_fails(bench: Bench) -> object:
    bench.emulator.control.set_plan({"on": "token", **answer(500)})
    return await IBMProvider(settings(bench.emulator.url)).find(TAG)


async def identity_refuses(bench: Bench) -> object:
    bench.emulator.control.set_plan({"do": "revoke_key", "key": "key"})
    return await IBMProvider(settings(bench.emulator.url)).find(TAG)


def no_key_file(call: Callable[[IBMProvider, Compiled], Awaitable[object]]) -> Case:
    async def case(bench: Bench) -> object:
        file = bench.folder / "nothing"
        provider = IBMProvider(settings(bench.emulator.url, token=None, token_file=file))
        return await call(provider, bench.compiled)

    return case


async def repeated_by_the_client(bench: Bench) -> object:
    provider = await bench.ready(client_retries=True)
    bench.emulator.control.set_plan(
        {"on": "submit", "count": 1, "when": "after", **answer(504)},
        {"on": "submit", "after": 1, **answer(400)},
    )
    return await submit(provider, bench.compiled)


async def input_that_is_not_isa(bench: Bench) -> object:
    return await bench.provider.submit(packed(ghz()), (0, 1, 2), BACKEND, SPEC, key(TAG))


async def no_job(bench: Bench) -> object:
    return await bench.provider.status("d0000000000000000000")


async def no_job_to_cancel(bench: Bench) -> object:
    return await bench.provider.cancel("d0000000000000000000")


async def not_ended(bench: Bench) -> object:
    bench.emulator.control.set_queue(length=50, seconds_per_job=60.0)
    return await bench.provider.result(
        (await submit(bench.provider, bench.compiled)).provider_job_id
    )


async def failed(bench: Bench) -> object:
    bench.emulator.control.set_plan({"do": "fail", "reason": "Warm.", "reason_code": 1234})
    job = await submit(bench.provider, bench.compiled)
    await ended(bench.provider, job)
    return await bench.provider.result(job.provider_job_id)


LATER = {"Retry-After": "9"}
HTML = "<html>Welcome</html>"

READS: dict[Kind, list[Case]] = {
    Kind.NOT_SENT: [nobody_listens, identity_fails],
    Kind.NO_REPLY: [
        find({"do": "drop"}),
        find({"do": "drop", "when": "after"}),
        find(answer(408)),
        cut("GET", look_up),
    ],
    Kind.SERVER_ERROR: [
        *(find(answer(s, body="")) for s in (500, 501, 503, 520)),
        find({"do": "outage"}),
    ],
    Kind.RATE_LIMITED: [find(answer(s, headers=LATER)) for s in (425, 429)],
    Kind.UNAUTHORISED: [find(answer(401)), identity_refuses],
    Kind.TOKEN_FILE: [no_key_file(look_up)],
    Kind.REFUSED: [find(answer(s)) for s in (400, 403, 404, 409, 422)],
    Kind.UNREADABLE: [
        find(answer(body=HTML)),
        find(answer(body="")),
        find({"do": "malformed", "fraction": 0.5}),
    ],
    Kind.SCHEMA_DRIFT: [find(answer(json={})), find(answer(json=[]))],
    Kind.BAD_INPUT: [input_that_is_not_isa],
    Kind.NO_SUCH_JOB: [no_job, no_job_to_cancel],
    Kind.NOT_ENDED: [not_ended],
    Kind.RUN_FAILED: [failed],
    Kind.RESULT_GONE: [
        *(fetch({"do": "result_gone", "status": s}) for s in (204, 404, 410)),
        fetch(answer(body="")),
    ],
    Kind.RESULT_MALFORMED: [fetch({"do": "malformed", "fraction": 0.7})],
    Kind.RESULT_SHAPE: [fetch(answer(body=body)) for body in ("[1]", "null", '"text"', "{}")],
}
"""For each row with an error of calls that are no submission."""

SUBMISSIONS: dict[Kind, list[Case]] = {
    Kind.NOT_SENT: [nobody_listens_any_more],
    Kind.NO_REPLY: [
        send({"do": "drop"}),
        send({"do": "drop", "when": "after"}),
        send(answer(408)),
        cut("POST", submit),
    ],
    Kind.SERVER_ERROR: [
        send(answer(status, when=when)) for status in (500, 504) for when in ("before", "after")
    ],
    Kind.CLIENT_REPEATED: [repeated_by_the_client],
    Kind.RATE_LIMITED: [send(answer(429, headers=LATER))],
    Kind.UNAUTHORISED: [send(answer(401))],
    Kind.TOKEN_FILE: [no_key_file(submit)],
    Kind.REFUSED: [send(answer(status)) for status in (400, 403, 404, 409, 413, 422)],
    Kind.UNREADABLE: [
        send(answer(when="after", body=HTML)),
        send({"do": "malformed", "fraction": 0.5}),
    ],
    Kind.SCHEMA_DRIFT: [send(answer(when="after", json=body)) for body in ({}, [], {"id": 7})],
    Kind.BAD_INPUT: [input_that_is_not_isa],
}
"""For each row with an error of submissions."""


async def listed_late(bench: Bench) -> None:
    control = bench.emulator.control
    control.set_clock("stepped")
    control.set_plan({"do": "list_late", "seconds": 20.0, "direct": True})
    job = await submit(bench.provider, bench.compiled)
    assert await bench.provider.find(TAG) == ()
    with pytest.raises(NoSuchRemoteJob):  # as for a job that never was
        await bench.provider.status(job.provider_job_id)
    control.step(21.0)
    assert [j.provider_job_id for j in await bench.provider.find(TAG)] == [job.provider_job_id]
    assert bench.provider.capabilities.found_within > 20.0


async def unknown_status(bench: Bench) -> None:
    job = await completed(bench.provider, bench.compiled)
    bench.emulator.control.set_plan({"do": "show_status", "text": "Pondering"})
    now = await bench.provider.status(job)
    assert (now.state, now.reason) == (RemoteState.UNKNOWN, "unknown status 'Pondering'")
    with pytest.raises(TransientProviderError, match="Pondering"):
        await bench.provider.result(job)


async def cancel_too_late(bench: Bench) -> None:
    bench.emulator.control.set_plan({"do": "cancel_loses_race", "reply": 409})
    bench.emulator.control.set_queue(length=50, seconds_per_job=60.0)
    job = await submit(bench.provider, bench.compiled)
    assert (await bench.provider.cancel(job.provider_job_id)).state is RemoteState.QUEUED
    assert bench.emulator.control.jobs(TAG)[0]["cancel_attempts"] == 1
    bench.emulator.control.set_queue(length=0)
    assert (await ended(bench.provider, job)).state is RemoteState.COMPLETED


async def charge_unknown(bench: Bench) -> None:
    job = await completed(bench.provider, bench.compiled)
    for body, why in (
        ("{}", "charge unknown: schema drift: GET /jobs/{id}/metrics: usage is missing"),
        ("not json", "charge unknown: the reply cannot be read"),
        ('{"usage": {"status": "pending", "quantum_seconds": 3}}', ""),
    ):
        bench.emulator.control.set_plan({"on": "metrics", **answer(body=body)})
        now = await bench.provider.status(job)
        assert (now.state, now.quantum_seconds) == (RemoteState.COMPLETED, None)
        assert now.reason.startswith(why)
    bench.emulator.control.clear_plan()
    assert (await bench.provider.status(job)).quantum_seconds is not None


ANSWERS: dict[Kind, list[Case]] = {
    Kind.NOT_LISTED: [listed_late],
    Kind.UNKNOWN_STATUS: [unknown_status],
    Kind.CANCEL_TOO_LATE: [cancel_too_late],
    Kind.CHARGE_UNKNOWN: [charge_unknown],
}
"""For each row that is answered with no error."""


def cases(table: dict[Kind, list[Case]], rows: list[Row]) -> list[Any]:
    """Every case of every row; a row without any is one that fails."""
    return [
        pytest.param(row, case, id=f"{row.kind.value}-{number}")
        for row in rows
        for number, case in enumerate(table.get(row.kind) or [without_a_case])
    ]


async def without_a_case(bench: Bench) -> object:
    raise AssertionError("a row without a test")


@pytest.mark.parametrize(("row", "case"), cases(READS, [r for r in ROWS if r.otherwise]))
async def test_a_call_that_is_no_submission(bench: Bench, row: Row, case: Case) -> None:
    with pytest.raises(QsagaError) as raised:
        await case(bench)
    assert type(raised.value) is row.otherwise
    if row.kind is not Kind.RUN_FAILED:  # it tells the provider's own reason
        assert row.meaning in str(raised.value)
    if row.kind is Kind.RATE_LIMITED:
        assert getattr(raised.value, "retry_after") == 9  # noqa: B009


@pytest.mark.parametrize(("row", "case"), cases(SUBMISSIONS, [r for r in ROWS if r.submission]))
async def test_a_submission(bench: Bench, row: Row, case: Case) -> None:
    with pytest.raises(QsagaError) as raised:
        await case(bench)
    assert type(raised.value) is row.submission
    assert row.meaning in str(raised.value)


@pytest.mark.parametrize(
    ("row", "case"), cases(ANSWERS, [r for r in ROWS if not (r.otherwise or r.submission)])
)
async def test_what_is_answered_nevertheless(bench: Bench, row: Row, case: Case) -> None:
    await case(bench)


def test_the_table_is_whole() -> None:
    assert [row.kind for row in ROWS] == list(Kind)
    assert all(row.seen and row.meaning and row.does and row.user for row in ROWS)
    told = {*READS, *SUBMISSIONS, *ANSWERS}
    assert told == set(Kind)
