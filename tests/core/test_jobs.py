"""Requests: what is accepted, what is refused, what a key stands for."""

import pytest
from pydantic import ValidationError

from qsaga.core.jobs import Budgets, JobRequest, deployment_tag, submission_tag
from qsaga.core.states import Layer

GOOD: dict[str, object] = {
    "key": "k1",
    "workload": {
        "kind": "optimise",
        "problem": {"name": "maxcut", "data": {"edges": [["a", "b"]]}},
    },
}


def with_changes(**changes: object) -> dict[str, object]:
    return GOOD | changes


@pytest.mark.parametrize(
    ("request_", "where"),
    [
        (with_changes(key=""), "key"),
        (with_changes(key="a/b"), "key"),
        (with_changes(tenant="Ümlaut"), "tenant"),
        (with_changes(route="teleport"), "route"),
        (with_changes(colour="red"), "colour"),
        (with_changes(seed=-1), "seed"),
        (with_changes(schema_version="2"), "schema_version"),
        (with_changes(budgets={"deadline": -5}), "budgets.deadline"),
        (with_changes(budgets={"deadline": float("nan")}), "budgets.deadline"),
        (with_changes(budgets={"queue": 1e12}), "budgets.queue"),
        (with_changes(budgets={"money": -1}), "budgets.money"),
        (with_changes(budgets={"money": "NaN"}), "budgets.money"),
        (with_changes(budgets={"currency": "dollars"}), "budgets.currency"),
        (with_changes(budgets={"deadline": 10, "queue": 60}), "budgets"),
        (with_changes(budgets={"quantum_seconds": 0}, route="hardware"), ""),
        (with_changes(workload={"kind": "pray"}), "workload"),
        (
            with_changes(workload={"kind": "sample", "circuit": {"source": "x"}, "shots": 0}),
            "workload.sample.shots",
        ),
        (
            with_changes(workload={"kind": "sample", "circuit": {"source": "x"}, "shots": -4}),
            "workload.sample.shots",
        ),
        (
            with_changes(
                workload={"kind": "sample", "circuit": {"format": "qpy", "source": "%%%"}}
            ),
            "workload.sample.circuit",
        ),
        (
            with_changes(
                workload={"kind": "estimate", "circuit": {"source": "x"}, "observables": []}
            ),
            "workload.estimate.observables",
        ),
        (
            with_changes(
                workload={"kind": "estimate", "circuit": {"source": "x"}, "observables": [{"Q": 1}]}
            ),
            "workload.estimate.observables.0.Q.[key]",
        ),
    ],
)
def test_bad_requests_are_refused_at_the_field(request_: dict[str, object], where: str) -> None:
    with pytest.raises(ValidationError) as refused:
        JobRequest.model_validate(request_)
    places = [".".join(str(part) for part in error["loc"]) for error in refused.value.errors()]
    assert where in places


def test_layers_are_cut_to_the_deadline() -> None:
    budgets = Budgets(deadline=10)
    assert budgets.seconds(Layer.DEADLINE) == 10
    assert budgets.seconds(Layer.QUEUE) == 10
    assert budgets.seconds(Layer.SOLVE) == 5
    assert Budgets(queue=7).seconds(Layer.QUEUE) == 7


def test_payload_hash_is_of_what_is_asked_not_of_who_or_under_which_key() -> None:
    one = JobRequest.model_validate(GOOD)
    same = JobRequest.model_validate(with_changes(key="k2", tenant="t2"))
    other = JobRequest.model_validate(with_changes(seed=8))
    assert one.payload_hash() == same.payload_hash() != other.payload_hash()
    assert one.job_id == "default/k1"
    again = JobRequest.model_validate_json(one.model_dump_json())
    assert again == one
    assert again.payload_hash() == one.payload_hash()


def test_tags_fit_the_provider_and_name_nobody() -> None:
    tag = submission_tag("prod", "acme/secret-customer", 0)
    assert len(tag) <= 86
    assert "acme" not in tag
    assert len(deployment_tag("d" * 63)) <= 86
    assert tag == submission_tag("prod", "acme/secret-customer", 0)
    assert len({submission_tag(d, j, n) for d in "ab" for j in "xy" for n in (0, 1)}) == 8
