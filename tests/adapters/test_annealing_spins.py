"""Flat models of spins, their contraction, and the portfolio's parts."""

from __future__ import annotations

import itertools

import dimod
import neal
import numpy as np
import pytest

from adapters.cooling import Cooling, Seconds, Sweeps
from adapters.elite import Elite
from adapters.portfolio import Portfolio
from adapters.spins import SpinModel


def model_of(size: int, density: float, seed: int, *, fields: bool) -> dimod.BinaryQuadraticModel:
    random = np.random.default_rng(seed)
    heads, tails = np.triu_indices(size, 1)
    kept = random.random(len(heads)) < density
    linear = random.normal(size=size) * fields
    pairs = random.integers(-5, 6, int(kept.sum())).astype(float)
    return dimod.BinaryQuadraticModel.from_numpy_vectors(
        linear, (heads[kept], tails[kept], pairs), 1.5, dimod.SPIN
    )


@pytest.mark.parametrize("fields", [True, False])
def test_a_contracted_model_holds_every_mixture_at_its_energy(*, fields: bool) -> None:
    bqm = model_of(24, 0.15, 1, fields=fields)
    model = SpinModel.of(bqm)
    rows, energies = model.descend(model.random(4, np.random.default_rng(2)))
    assert energies == pytest.approx(bqm.energies(rows))
    contracted = model.contract(rows)
    small = contracted.model
    assert 1 < small.size < model.size
    states = model.random(1, np.random.default_rng(3))[:, : small.size]
    for signs in (np.ones((1, small.size), dtype=np.int8), states):
        whole = contracted.expand(signs)
        energy = small.offset + float(small.fields @ signs[0])
        energy += float(small.pairs @ (signs[0][small.heads] * signs[0][small.tails]))
        assert energy == pytest.approx(float(bqm.energies(whole)[0]))
    # Every parent is among the states of the small model: a cluster's signs agree in each of them.
    held = contracted.expand(np.ones((1, small.size), dtype=np.int8))
    for row in rows:
        for one in np.unique(contracted.cluster):
            assert len(np.unique((row * held[0])[contracted.cluster == one])) == 1


def test_equal_samples_contract_to_single_spins_for_each_part() -> None:
    bqm = dimod.BinaryQuadraticModel({}, {(0, 1): 1.0, (2, 3): -1.0}, "SPIN")
    model = SpinModel.of(bqm)
    row = np.array([[1, -1, 1, 1]], dtype=np.int8)
    contracted = model.contract(np.vstack([row, row]))
    assert (contracted.model.size, len(contracted.model.pairs)) == (2, 0)
    assert contracted.model.offset == -2


@pytest.mark.parametrize("density", [0.1, 1.0])
def test_the_default_range_is_that_of_neal(density: float) -> None:
    bqm = model_of(40, density, 4, fields=True)
    assert SpinModel.of(bqm).default_betas == pytest.approx(neal.default_beta_range(bqm))


def test_freezing_goes_by_the_smallest_gap() -> None:
    chain = dimod.BinaryQuadraticModel({}, {(i, i + 1): -1.0 for i in range(50)}, "SPIN")
    model = SpinModel.of(chain)
    up = np.ones(51, dtype=np.int8)
    # An end spin has a gap of 2, the others of 4; never above 10 / scale.
    assert model.freezing(up) == pytest.approx(min(5.0, 10 / model.scale))
    flat = SpinModel.of(dimod.BinaryQuadraticModel({0: 0.0}, {}, "SPIN"))
    assert flat.freezing(up[:1]) == 10 / flat.scale


def test_a_schedule_in_parts_is_the_whole() -> None:
    for cooling in (Cooling(0.1, 5.0), Cooling(0.1, 5.0, "geometric")):
        whole = cooling.betas(11)
        assert whole[0] == pytest.approx(0.1)
        assert whole[-1] == pytest.approx(5.0)
        parts = cooling.betas(6, 0.0, 0.5) + cooling.betas(6, 0.5, 1.0)[1:]
        assert parts == pytest.approx(whole)
        assert cooling.betas(1, 0.0, 0.5) == pytest.approx([whole[5]])


def test_meters() -> None:
    ticks = itertools.count()
    clock = Seconds(100, lambda: float(next(ticks)))
    mark = clock.mark()
    assert clock.since(mark, 7) == 1
    assert clock.left() < 0.85 * 98
    work = Sweeps(100)
    assert work.since(work.mark(), 30) == 30
    assert work.left() == 70


def test_elites_are_merged_and_thinned() -> None:
    one, two = Elite(symmetric=True), Elite(symmetric=True)
    row = np.array([[1, -1, 1]], dtype=np.int8)
    one.add(row, np.array([-1.0]))
    two.add(np.vstack([-row, [[1, 1, 1]]]).astype(np.int8), np.array([-1.0, -3.0]))
    both = one.merge([two, Elite(symmetric=True)])
    assert (len(both), both.lowest, both.energies) == (2, -3.0, [-1.0, -1.0, -3.0])
    assert both.leading(1).tolist() == [[1, 1, 1]]


@pytest.mark.parametrize("fields", [True, False])
def test_every_member_has_its_turns_and_reports_true_energies(*, fields: bool) -> None:
    bqm = model_of(60, 0.1, 5, fields=fields)
    portfolio = Portfolio(SpinModel.of(bqm), Sweeps(60_000), 1, lambda: False)
    for _ in portfolio.run():
        pass
    told = portfolio.told()
    assert set(told) == {"linear", "geometric", "reheat", "recombine", "neal", "tabu"}
    assert all(member["reads"] for name, member in told.items() if name != "recombine")
    rows = portfolio.elite.leading(64)
    kept, _ = portfolio.elite.snapshot()
    assert sorted(energy for energy, _ in kept.values()) == pytest.approx(
        sorted(float(bqm.energy(row)) for row in rows)
    )


def test_neal_and_tabu_are_for_models_of_their_size_only() -> None:
    random = np.random.default_rng(6)
    heads, tails = (random.integers(0, 2000, 60_000) for _ in range(2))
    tails = np.where(heads == tails, (tails + 1) % 2000, tails)
    bqm = dimod.BinaryQuadraticModel.from_numpy_vectors(
        np.zeros(2000), (heads, tails, np.ones(60_000)), 0.0, dimod.SPIN
    )
    portfolio = Portfolio(SpinModel.of(bqm), Sweeps(400), 1, lambda: False)
    for _ in portfolio.run():
        pass
    assert not {"neal", "tabu"} & set(portfolio.told())
