"""Encoding with and without a reduction, and what is found again of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

from activities.answering import Encode
from activities.closing import Settle
from activities.encoding import EncodeOnce
from activities.sizing import size_of
from adapters.annealing import steepest_descent
from adapters.artefacts import FolderArtefacts
from adapters.cache import FolderCache
from adapters.circuits import QiskitCircuitReader, from_qpy
from adapters.qaoa import QaoaBuilder
from adapters.reduction import RoofDuality
from qsaga.core.jobs import Optimise, Problem, Qaoa
from qsaga.core.ports import CircuitResult
from qsaga.core.reduction import Reduction
from qsaga.core.remote_steps import SettleInput
from qsaga.core.steps import Encoded, EncodeInput
from qsaga.problems.reduction import MOST_TERMS, load_reduction
from qsaga.problems.verify import CIRCUIT_RESULT
from tests.support.sparse import sparse_problem


def workload(data: dict[str, Any] | None = None, **algorithm: Any) -> Optimise:
    given = {
        "problem": {"name": "qubo", "data": data or sparse_problem()},
        "algorithm": {"depth": 1} | algorithm,
    }
    return Optimise.model_validate(given)


class Bench:
    def __init__(self, folder: Path) -> None:
        self.artefacts = FolderArtefacts(folder / "artefacts")
        self.cache = FolderCache(folder / "cache")

    async def encode(
        self, given: Optimise, reduction: str = RoofDuality.version, version: str = "", **rest: Any
    ) -> Encoded:
        builder, reader = QaoaBuilder(), QiskitCircuitReader()
        encode = Encode(self.artefacts, builder, reader, RoofDuality())
        newest = version or RoofDuality.version
        once = EncodeOnce(encode, self.artefacts, self.cache, builder.version, newest)
        wanted = {"circuit_wanted": True, "tenant": "t"} | rest
        return await once.encode(EncodeInput(workload=given, reduction=reduction, **wanted))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_the_circuit_is_of_what_is_left_and_the_model_is_whole(bench: Bench) -> None:
    encoded = await bench.encode(workload())
    assert (encoded.variables, encoded.couplings, encoded.qubits) == (300, 329, 11)
    assert encoded.circuit is not None and encoded.reduction is not None
    assert from_qpy(bench.artefacts.get(encoded.circuit)).num_qubits == 11
    kept = load_reduction(bench.artefacts.get(encoded.reduction))
    assert encoded.reduced == kept.size


async def test_a_model_that_is_decided_has_no_circuit(bench: Bench) -> None:
    encoded = await bench.encode(workload({"linear": {"a": 1.0, "b": -1.0}}))
    assert encoded.circuit is None and encoded.reduction is not None
    assert encoded.reduced is not None and encoded.reduced.qubits == 0
    assert encoded.parameter_sets is None and encoded.qubits == 2


async def test_a_job_that_was_admitted_without_is_encoded_without(bench: Bench) -> None:
    small = workload({"linear": {"a": 1.0, "b": -1.0}})
    encoded = await bench.encode(small, reduction="")
    assert encoded.reduction is encoded.reduced is None
    assert encoded.circuit is not None and encoded.qubits == 2


async def test_a_reduced_problem_is_found_again_as_that_only(bench: Bench) -> None:
    small = workload({"linear": {"a": 0.0}, "quadratic": [["a", "b", 1.0], ["b", "c", 1.0]]})
    plain = await bench.encode(small, reduction="")
    first = await bench.encode(small)
    assert not plain.from_cache and not first.from_cache
    assert first.reduction is not None and plain.reduction is None
    again = await bench.encode(small)
    assert again == first.model_copy(update={"from_cache": True})
    assert (await bench.encode(small, reduction="")).from_cache
    assert not (await bench.encode(small, version="roof-duality/2")).from_cache
    bench.artefacts.delete(first.reduction, datetime.now(UTC) + timedelta(days=1))
    assert not (await bench.encode(small)).from_cache


async def test_a_late_result_is_put_back_before_it_is_compared(bench: Bench) -> None:
    work = workload()
    encoded = await bench.encode(work)
    counts = CircuitResult(verb="sample", shots=1, counts={"meas": {"01" * 5 + "0": 1}})
    late = bench.artefacts.put(counts.model_dump_json().encode(), CIRCUIT_RESULT)
    unused: list[Any] = [AsyncMock() for _ in range(7)]
    step = Settle(bench.artefacts, *unused[:5], steepest_descent, *unused[5:], patience=1.0)
    given = SettleInput(
        job_id="t/k",
        run_id="tag",
        jobs=(),
        outcome="late",
        workload=work,
        model=encoded.model,
        reduction=encoded.reduction,
    )
    told = step._late(given, late)
    assert told.objective is not None and told.comparison == ""
    whole = step._late(given.model_copy(update={"reduction": None}), late)
    assert whole.objective is None and "is not 300 bits" in whole.comparison


class Never:
    """A reducer that must not be asked."""

    version, most_couplings = "never/1", 2

    def reduce(self, bqm: bytes) -> Reduction | None:
        raise AssertionError


def test_size_is_what_is_left_unless_it_is_not_wanted_or_too_large() -> None:
    reader = QiskitCircuitReader()
    assert size_of(workload(), reader, RoofDuality()) == (300, 11, RoofDuality.version, ())
    assert size_of(workload(), reader, None) == (300, 300, "", ())
    assert size_of(workload(reduce=False), reader, Never()) == (300, 300, "", ())
    assert size_of(workload(), reader, Never()) == (300, 300, "", ())
    assert RoofDuality.most_couplings == MOST_TERMS


def test_coefficients_too_far_apart_are_warned_of_before_a_cost() -> None:
    data = {"quadratic": [["a", "b", 1e-9], ["b", "c", 1e6]], "linear": {"a": 1.0}}
    far = Optimise(problem=Problem(name="qubo", data=data))
    size = size_of(far, QiskitCircuitReader(), RoofDuality())
    assert [text.partition(": ")[2] for text in size.warnings] == ["hardware resolves about 100"]
    assert "a ratio of 1e+15" in size.warnings[0]


def test_who_says_nothing_of_it_keeps_the_hash_of_the_request() -> None:
    assert "reduce" not in Qaoa().model_dump()
    assert Qaoa(reduce=False).model_dump()["reduce"] is False
    assert Qaoa.model_validate({"depth": 2}).reduce
