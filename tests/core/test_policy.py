"""decide(): a table of facts and what must come of them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsaga.core.errors import InvalidRequest, PolicyRefused
from qsaga.core.facts import BackendFacts, Facts
from qsaga.core.policy import Policy, decide
from qsaga.core.states import Rung
from qsaga.policies import load_policy

DEFAULT = load_policy()
HERON = BackendFacts(
    name="ibm_torino", provider="ibm", qubits=133, operational=True, queue_length=2
)


def facts(**changes: object) -> Facts:
    base: dict[str, object] = {
        "verb": "optimise",
        "variables": 40,
        "qubits": 40,
        "shots": 1024,
        "backends": (HERON,),
        "queue_budget": 3600.0,
        "quantum_seconds": 60.0,
    }
    return Facts.model_validate(base | changes)


def off(policy: Policy) -> Policy:
    hardware = policy.hardware.model_copy(update={"enabled": False})
    return policy.model_copy(update={"hardware": hardware})


REDUCED = {"variables": 300, "reduction": "roof-duality/1"}


def test_a_rule_about_size_looks_at_what_the_reduction_leaves() -> None:
    decision = decide(DEFAULT, facts(**REDUCED, qubits=60))
    assert (decision.wanted, decision.ladder[0]) == (Rung.HARDWARE, Rung.HARDWARE)
    assert decide(DEFAULT, facts(**REDUCED, qubits=300)).wanted is Rung.ANNEALING
    assert decide(DEFAULT, facts(**REDUCED, qubits=12)).rule == "small problems stay classical"


@pytest.mark.parametrize(
    ("qubits", "said"),
    [
        (110, "110 qubits after reduction (300 before) is too big for the hardware"),
        (300, "300 qubits is too big for the hardware"),
    ],
)
def test_what_stays_too_large_says_by_how_much_and_goes_down(qubits: int, said: str) -> None:
    plain = DEFAULT.model_copy(update={"rules": ()})
    decision = decide(plain, facts(**REDUCED, qubits=qubits))
    assert decision.ladder == (Rung.ANNEALING,)
    assert said in {r.rung: r.reason for r in decision.refused}[Rung.HARDWARE]
    small = HERON.model_copy(update={"qubits": 50})
    decision = decide(plain, facts(**REDUCED, qubits=60, backends=(small,)))
    assert "60 qubits after reduction (300 before) is too big, it has 50" in decision.reason
    assert decision.ladder == (Rung.ANNEALING,)


def test_what_stays_too_large_for_a_forced_route_is_refused_with_both_sizes() -> None:
    with pytest.raises(InvalidRequest, match=r"140 qubits after reduction \(300 before\) are more"):
        decide(DEFAULT, facts(**REDUCED, qubits=140, forced_route=Rung.HARDWARE))


@pytest.mark.parametrize("forced", [None, Rung.HARDWARE, Rung.SIMULATOR])
def test_what_is_decided_by_the_reduction_is_proven_and_nothing_is_run(forced: Rung | None) -> None:
    decision = decide(DEFAULT, facts(**REDUCED, qubits=0, forced_route=forced))
    assert decision.ladder == (Rung.EXACT, Rung.ANNEALING)
    assert decision.wanted is (forced or Rung.EXACT)
    assert decision.backend is decision.forecast is None
    refused = {r.rung: r.reason for r in decision.refused}
    assert set(refused) == {Rung.HARDWARE, Rung.SIMULATOR}
    assert set(refused.values()) == {
        "the reduction (roof-duality/1) decides all 300 variables, so there is nothing to run"
    }
    assert "decides all 300 variables" in decision.reason


def test_who_asks_for_annealing_gets_it_whatever_is_decided() -> None:
    decision = decide(DEFAULT, facts(**REDUCED, qubits=0, forced_route=Rung.ANNEALING))
    assert decision.ladder == (Rung.ANNEALING, Rung.EXACT)


def test_middle_sized_problem_goes_to_hardware_with_its_fallbacks() -> None:
    decision = decide(DEFAULT, facts())
    assert decision.ladder == (Rung.HARDWARE, Rung.ANNEALING)
    assert decision.wanted is Rung.HARDWARE
    assert decision.backend == "ibm_torino"
    assert decision.forecast is not None
    assert decision.forecast.queue_seconds == pytest.approx(40.0)
    assert decision.forecast.money == Decimal("4.8384")
    assert [refusal.rung for refusal in decision.refused] == [Rung.SIMULATOR]


@pytest.mark.parametrize(
    ("changes", "wanted", "ladder", "said"),
    [
        ({"variables": 11, "qubits": 11}, Rung.ANNEALING, Rung.ANNEALING, "24 variables or fewer"),
        (
            {"variables": 800, "qubits": 800},
            Rung.ANNEALING,
            Rung.ANNEALING,
            "too big for the hardw",
        ),
        ({"queue_budget": 30.0}, Rung.HARDWARE, Rung.ANNEALING, "expected queue 40 s is over"),
        ({"quantum_seconds": 1.0}, Rung.HARDWARE, Rung.ANNEALING, "quantum seconds"),
        ({"money": Decimal(1)}, Rung.HARDWARE, Rung.ANNEALING, "expected cost"),
        (
            {"backends": (HERON.model_copy(update={"operational": False}),)},
            Rung.HARDWARE,
            Rung.ANNEALING,
            "not operational",
        ),
        ({"backends": (), "provider_trouble": "503"}, Rung.HARDWARE, Rung.ANNEALING, "503"),
        ({"backends": ()}, Rung.HARDWARE, Rung.ANNEALING, "no backend is offered"),
        (
            {"verb": "sample", "variables": None, "qubits": 5, "queue_budget": 1.0},
            Rung.HARDWARE,
            Rung.SIMULATOR,
            "over the budget",
        ),
    ],
)
def test_route(changes: dict[str, object], wanted: Rung, ladder: Rung, said: str) -> None:
    decision = decide(DEFAULT, facts(**changes))
    assert (decision.wanted, decision.ladder[0]) == (wanted, ladder)
    assert said in decision.reason


def test_switched_off_hardware_still_answers_what_was_forced_there() -> None:
    decision = decide(
        off(DEFAULT), facts(variables=11, qubits=11, forced_route=Rung.HARDWARE, backends=())
    )
    assert decision.wanted is Rung.HARDWARE
    assert decision.ladder == (Rung.ANNEALING, Rung.SIMULATOR)
    assert "switched off" in decision.reason


def test_the_shortest_expected_queue_wins_and_unknown_comes_last() -> None:
    others = (
        HERON.model_copy(update={"name": "a", "queue_length": None}),
        HERON.model_copy(update={"name": "b", "queue_length": 7}),
        HERON.model_copy(update={"name": "c", "queue_length": 3}),
    )
    assert decide(DEFAULT, facts(backends=others)).backend == "c"
    only_unknown = decide(DEFAULT, facts(backends=others[:1]))
    assert only_unknown.backend == "a"
    assert only_unknown.forecast is not None
    assert only_unknown.forecast.queue_seconds is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"forced_route": Rung.HARDWARE, "qubits": 800, "variables": 800}, "route"),
        ({"forced_route": Rung.SIMULATOR}, "route"),
        ({"backend": "ibm_nowhere"}, "backend"),
    ],
)
def test_what_the_caller_forces_must_be_possible(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decide(DEFAULT, facts(**changes))
    assert refused.value.field == field
    assert refused.value.allowed


def test_no_rung_at_all_is_refused_with_every_reason() -> None:
    with pytest.raises(PolicyRefused, match=r"hardware is switched off.*simulator takes 24"):
        decide(off(DEFAULT), facts(verb="sample", variables=None, qubits=30))


@given(
    verb=st.sampled_from(["optimise", "sample", "estimate"]),
    size=st.integers(1, 2000),
    shots=st.integers(1, 100_000),
    queue=st.none() | st.integers(0, 10_000),
    operational=st.booleans(),
    enabled=st.booleans(),
    route=st.none() | st.sampled_from(list(Rung)),
    trouble=st.sampled_from(["", "outage"]),
)
def test_every_decision_can_be_carried_out_or_is_refused(
    verb: str,
    size: int,
    shots: int,
    queue: int | None,
    operational: bool,
    enabled: bool,
    route: Rung | None,
    trouble: str,
) -> None:
    policy = DEFAULT if enabled else off(DEFAULT)
    backend = HERON.model_copy(update={"queue_length": queue, "operational": operational})
    given_facts = facts(
        verb=verb,
        variables=size if verb == "optimise" else None,
        qubits=size,
        shots=shots,
        backends=() if trouble else (backend,),
        provider_trouble=trouble,
        forced_route=route,
    )
    try:
        decision = decide(policy, given_facts)
    except (PolicyRefused, InvalidRequest):
        return
    assert decision.ladder
    assert len(set(decision.ladder)) == len(decision.ladder)
    assert not set(decision.ladder) & {refusal.rung for refusal in decision.refused}
    assert (decision.backend is not None) == (Rung.HARDWARE in decision.ladder)
    if Rung.HARDWARE in decision.ladder:
        assert enabled
        assert operational
        assert size <= HERON.qubits
    if verb != "optimise":
        assert Rung.ANNEALING not in decision.ladder
    assert decide(policy, given_facts) == decision
