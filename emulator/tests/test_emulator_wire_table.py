"""What the unmodified client does, retries included, when the wire or the service misbehaves.

One test for each line of what was measured of qiskit-ibm-runtime 0.51. A new release of the client
that behaves otherwise fails here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import QiskitRuntimeService, SamplerV2
from qiskit_ibm_runtime.exceptions import (
    IBMNotAuthorizedError,
    IBMRuntimeError,
    RuntimeInvalidStateError,
    RuntimeJobFailureError,
    RuntimeJobMaxTimeoutError,
    RuntimeJobTimeoutError,
)

from ibm_quantum_emulator.process import ControlClient, EmulatorProcess

# Virtual seconds after which any single job of these tests is over.
LONG = 30.0

TAG = "one-submission"


def quick_retries(service: Any) -> Any:
    # Only the pause between two attempts is shortened, which takes 16 s for one submission; which
    # attempts are made stays as released.
    for adapter in service._active_api_client._session.adapters.values():
        adapter.max_retries.backoff_factor = 0.0
    return service


@pytest.fixture(scope="module")
def direct(ibm_emulator_process: EmulatorProcess) -> Iterator[Any]:
    """The client without a proxy in between, as it talks to the real service."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QISKIT_FUNCTIONS_EXPERIMENTAL", "1")
        patch.setenv("IAM_URL", ibm_emulator_process.url)
        yield quick_retries(
            QiskitRuntimeService(
                channel="ibm_quantum_platform",
                token="t",
                instance=ibm_emulator_process.crn,
                url_resolver=lambda *_: ibm_emulator_process.url + "/api/v1",
            )
        )


@pytest.fixture(scope="module")
def direct_backend(direct: Any) -> Any:
    return direct.backend("ibm_torino")


@pytest.fixture
def control(ibm_emulator: EmulatorProcess) -> ControlClient:
    return ibm_emulator.control


@pytest.fixture
def run(control: ControlClient, direct_backend: Any, bell: QuantumCircuit) -> Callable[..., Any]:
    def submit(*tags: str, **options: Any) -> Any:
        sampler = SamplerV2(direct_backend)
        sampler.options.environment.job_tags = list(tags) or [TAG]
        sampler.options.update(**options)
        return sampler.run([bell], shots=64)

    return submit


def attempts_and_jobs(control: ControlClient) -> tuple[int, int]:
    attempts = control.request_log(endpoint="submit")
    assert [post["tags"] for post in control.posts()] == [[TAG]] * len(attempts)
    return len(attempts), len(control.jobs(TAG))


@pytest.mark.parametrize("status", [400, 403, 409, 413, 429, 501])
def test_a_refusal_is_final(control: ControlClient, run: Callable[..., Any], status: int) -> None:
    # The pause asked for is longer than this test may take.
    pause = {"headers": {"Retry-After": "3600"}} if status == 429 else {}
    control.set_plan({"on": "submit", "do": "answer", "status": status, **pause})
    with pytest.raises(IBMRuntimeError, match=str(status)) as caught:
        run()
    assert not hasattr(caught.value, "status_code")
    assert attempts_and_jobs(control) == (1, 0)


def test_a_token_that_is_refused_is_not_renewed(
    control: ControlClient, run: Callable[..., Any]
) -> None:
    control.set_plan({"on": "submit", "do": "expire_tokens"})
    with pytest.raises(IBMNotAuthorizedError, match="401"):
        run()
    assert len(control.request_log(endpoint="submit")) == 1
    assert control.request_log(endpoint="token") == []
    assert control.jobs() == []


@pytest.mark.parametrize(("when", "jobs"), [("before", 0), ("after", 1)])
def test_a_dropped_connection_looks_the_same_whether_the_job_was_accepted_or_not(
    control: ControlClient, run: Callable[..., Any], when: str, jobs: int
) -> None:
    control.set_plan({"on": "submit", "do": "drop", "when": when})
    with pytest.raises(IBMRuntimeError, match="Remote end closed connection without response"):
        run()
    assert attempts_and_jobs(control) == (1, jobs)


@pytest.mark.parametrize(("when", "jobs"), [("before", 0), ("after", 6)])
def test_behind_a_proxy_even_a_dropped_connection_is_tried_again(
    control: ControlClient,
    session_service: Any,
    bell: QuantumCircuit,
    when: str,
    jobs: int,
) -> None:
    # urllib3 takes it for a failure of the proxy, and such failures are repeated for any method.
    quick_retries(session_service)
    control.set_plan({"on": "submit", "do": "drop", "when": when})
    sampler = SamplerV2(session_service.backend("ibm_torino"))
    sampler.options.environment.job_tags = [TAG]
    with pytest.raises(IBMRuntimeError, match="Unable to connect to proxy"):
        sampler.run([bell], shots=64)
    assert attempts_and_jobs(control) == (6, jobs)


def test_accepted_then_504_twice_makes_two_silent_duplicates(
    control: ControlClient, run: Callable[..., Any]
) -> None:
    rule = {"name": "gateway", "on": "submit", "do": "answer", "when": "after", "status": 504}
    control.set_plan({**rule, "count": 2})
    job = run()
    assert attempts_and_jobs(control) == (3, 3)
    truth = control.jobs(TAG)
    assert [each["faults"] for each in truth] == [["gateway"], ["gateway"], []]
    assert job.job_id() == truth[2]["id"]
    assert [(post["status"], post["answered"]) for post in control.posts(TAG)] == [
        (200, 504),
        (200, 504),
        (200, 200),
    ]


def test_accepted_then_500_for_ever_makes_six_jobs_and_an_error(
    control: ControlClient, run: Callable[..., Any]
) -> None:
    control.set_plan({"on": "submit", "do": "answer", "when": "after", "status": 500})
    with pytest.raises(IBMRuntimeError, match="500"):
        run()
    assert attempts_and_jobs(control) == (6, 6)


@pytest.mark.parametrize("status", [502, 520])
def test_502_for_ever_is_tried_six_times(
    control: ControlClient, run: Callable[..., Any], status: int
) -> None:
    control.set_plan({"on": "submit", "do": "answer", "status": status})
    with pytest.raises(IBMRuntimeError, match=str(status)):
        run()
    assert attempts_and_jobs(control) == (6, 0)


def test_a_reading_request_obeys_retry_after(
    control: ControlClient, run: Callable[..., Any]
) -> None:
    job = run()
    control.set_plan(
        {"on": "job", "do": "answer", "status": 429, "headers": {"Retry-After": "1"}, "count": 1}
    )
    began = time.monotonic()
    assert job.status() == "RUNNING"
    assert time.monotonic() - began >= 1
    assert [row["status"] for row in control.request_log(endpoint="job")] == [429, 200]


def test_a_result_that_is_gone_is_none(control: ControlClient, run: Callable[..., Any]) -> None:
    job = run()
    control.step(LONG)
    control.set_plan({"do": "result_gone"})
    assert job.result() is None


def test_a_malformed_result_is_a_text(control: ControlClient, run: Callable[..., Any]) -> None:
    job = run()
    control.step(LONG)
    control.set_plan({"on": "result", "do": "malformed", "fraction": 0.5})
    result = job.result()
    assert isinstance(result, str)
    assert result.startswith("{")


def test_an_unknown_status_is_waited_for_for_ever(
    control: ControlClient, run: Callable[..., Any]
) -> None:
    job = run()
    control.step(LONG)
    control.set_plan({"do": "show_status", "text": "Paused by the provider"})
    with pytest.raises(RuntimeJobTimeoutError):
        job.result(timeout=1.5, poll_interval=0.1)
    assert len(control.request_log(endpoint="job")) >= 4
    assert control.jobs(TAG)[0]["state"] == "Completed"


def test_a_wrong_count_makes_the_client_page_for_ever(
    control: ControlClient, direct: Any, run: Callable[..., Any]
) -> None:
    made = run().job_id()
    control.set_plan({"do": "list_count", "by": 1})
    found: list[str] = []
    pager = threading.Thread(
        target=lambda: found.extend(job.job_id() for job in direct.jobs(limit=None)), daemon=True
    )
    pager.start()
    deadline = time.monotonic() + 20
    while len(control.request_log(endpoint="list")) < 25:
        assert time.monotonic() < deadline, "it stopped asking"
        time.sleep(0.02)
    assert pager.is_alive()
    control.clear_plan()
    pager.join(20)
    assert found == [made]


def test_a_failed_job_and_a_cancelled_job_are_different_errors(
    control: ControlClient, run: Callable[..., Any]
) -> None:
    control.set_plan({"do": "fail", "reason": "Cold.", "reason_code": 77, "count": 1})
    failed, cancelled = run(), run()
    cancelled.cancel()
    control.step(LONG)
    with pytest.raises(RuntimeJobFailureError, match="Error code 77; Cold"):
        failed.result()
    with pytest.raises(RuntimeInvalidStateError):
        cancelled.result()


def test_running_too_long_is_an_error_of_its_own(
    control: ControlClient, run: Callable[..., Any]
) -> None:
    job = run(max_execution_time=1)
    control.step(LONG)
    with pytest.raises(RuntimeJobMaxTimeoutError, match="1305"):
        job.result()


def test_eight_tags_of_86_characters_and_not_one_more(
    control: ControlClient, direct: Any, run: Callable[..., Any]
) -> None:
    most = [f"{number:086}" for number in range(8)]
    job = run(*most)
    assert [found.job_id() for found in direct.jobs(job_tags=most)] == [job.job_id()]
    for tags in ([*most, "ninth"], ["x" * 87]):
        with pytest.raises(IBMRuntimeError, match="400"):
            run(*tags)
    assert len(control.jobs()) == 1
