"""Calibrations: which one is in force, and what each says. Pure, seeded, readable for ever."""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .model import iso
from .moments import Moment, Timed

_NAMESPACE = uuid.UUID("a8a8f1b6-6d2c-5e0f-9c5b-0d1f7c6b3e21")
# More would be a mistake in the document: every one is kept.
_MOST = 200_000
_FLIPS = ("prob_meas0_prep1", "prob_meas1_prep0")


class Recalibration(BaseModel):
    """When a backend is calibrated anew, and how much its figures change.

    Attributes:
        every_hours: After every so many virtual hours.
        first_in_hours: The first of those so many hours after the document takes effect.
        at: Further moments.
        spread: Standard deviation of the logarithm of the factor on each figure.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    every_hours: float | None = Field(None, ge=0.01)
    first_in_hours: float | None = Field(None, ge=0)
    at: list[Moment] = []
    spread: float = Field(0.05, ge=0, le=1)


class Faulty(Timed):
    """Qubits or one gate that stop working at a moment.

    Attributes:
        qubits: The qubits, or those of the gate.
        gate: Name of the gate; absent, the qubits themselves.
        hours: They work again after so many hours; never when absent.
    """

    qubits: tuple[int, ...] = Field(min_length=1)
    gate: str | None = None
    hours: float | None = Field(None, gt=0)


class Outage(BaseModel):
    """:class:`Faulty` on the absolute time axis."""

    since: float
    until: float | None = None
    qubits: tuple[int, ...]
    gate: str | None = None


class Calibration(BaseModel):
    """One calibration.

    Attributes:
        at: When it took effect; None for the snapshot that ships with the client.
        number: Ordinal; decides the random factors.
        spread: See :class:`Recalibration`.
        seed: Of the factors.
        faulty: What does not work.
    """

    id: str = ""
    number: int
    seed: int = 0
    at: float | None = None
    spread: float = 0.0
    faulty: list[Outage] = []


class Schedule(BaseModel):
    """Moments of calibrations to come.

    Attributes:
        moments: Single ones.
        first, every: And ``first``, ``first + every``, ... for ever.
    """

    moments: list[float] = []
    first: float | None = None
    every: float | None = None
    spread: float = 0.05
    outages: list[Outage] = []

    @model_validator(mode="after")
    def _in_order(self) -> Schedule:
        self.moments = sorted(set(self.moments))
        return self

    @classmethod
    def of(
        cls, recalibration: Recalibration | None, faulty: Sequence[Faulty], now: float
    ) -> Schedule:
        """Return the schedule of a document that takes effect at ``now``."""
        outages = []
        for each in faulty:
            since = max(now, each.moment(now))
            until = None if each.hours is None else since + each.hours * 3600
            outages.append(Outage(since=since, until=until, qubits=each.qubits, gate=each.gate))
        edges = [m for each in outages for m in (each.since, each.until) if m is not None]
        if recalibration is None:
            return cls(moments=edges, spread=0.0, outages=outages)
        every = recalibration.every_hours and recalibration.every_hours * 3600
        first = None
        if every:
            hours = recalibration.first_in_hours
            first = now + (every if hours is None else hours * 3600)
        moments = [*edges, *(m for m in recalibration.at if m >= now)]
        return cls(
            moments=moments, first=first, every=every, spread=recalibration.spread, outages=outages
        )

    def after(self, moment: float) -> float:
        """Return the next moment after this one, infinite without one."""
        single = next((each for each in self.moments if each > moment), math.inf)
        if self.first is None or self.every is None:
            return single
        count = max(0, math.floor((moment - self.first) / self.every) + 1)
        return min(single, self.first + count * self.every)


class Calibrations:
    """All calibrations of one backend, past ones included.

    Args:
        backend: Its name, part of the ids.
        seed: Of the factors.
        document: What :meth:`dump` returned.
    """

    def __init__(self, backend: str, seed: int, document: dict[str, Any] | None = None) -> None:
        document = document or {}
        self._backend = backend
        self.seed = int(document.get("seed", seed))
        self._schedule = Schedule.model_validate(document.get("schedule", {}))
        self._since = float(document.get("since", -math.inf))
        history = [Calibration.model_validate(each) for each in document.get("history", ())]
        self._history = history or [self._identified(Calibration(number=0, seed=self.seed))]
        self._by_id = {each.id: each for each in self._history}

    def dump(self) -> dict[str, Any]:
        """Return all of it as a JSON document."""
        return {
            "seed": self.seed,
            "schedule": self._schedule.model_dump(),
            "since": self._since,
            "history": [each.model_dump(exclude_defaults=True) for each in self._history],
        }

    def set_schedule(self, schedule: Schedule, seed: int, now: float) -> None:
        """Replace what comes after ``now``; call :meth:`caught_up` before."""
        lost = bool(self.current.faulty) and not schedule.outages
        self._schedule, self.seed, self._since = schedule, seed, now
        if lost or any(each.since <= now for each in schedule.outages):
            self.add(now)

    def caught_up(self, now: float) -> bool:
        """Take up what has become due by ``now`` and tell whether anything has."""
        before = len(self._history)
        while (moment := self._schedule.after(self._last())) <= now:
            if len(self._history) >= _MOST:
                break
            self._add(moment)
        return len(self._history) > before

    def add(self, now: float) -> Calibration:
        """Calibrate at once."""
        self.caught_up(now)
        return self._add(now)

    @property
    def current(self) -> Calibration:
        """The latest one, after :meth:`caught_up`."""
        return self._history[-1]

    @property
    def history(self) -> list[Calibration]:
        """All so far, oldest first."""
        return self._history

    @property
    def next_at(self) -> float:
        """When the next one is due, infinite without one."""
        return self._schedule.after(self._last())

    def by_id(self, calibration_id: str) -> Calibration | None:
        """Return a calibration, None when there never was one with this id."""
        return self._by_id.get(calibration_id)

    def before(self, moment: float) -> Calibration:
        """Return the one in force at a moment; the snapshot when none was yet."""
        for each in reversed(self._history):
            if each.at is not None and each.at <= moment:
                return each
        return self._history[0]

    def _last(self) -> float:
        at = self.current.at
        return self._since if at is None else max(at, self._since)

    def _add(self, moment: float) -> Calibration:
        number = len(self._history)
        new = Calibration(
            number=number,
            seed=self.seed,
            at=moment,
            spread=self._schedule.spread,
            faulty=[
                each
                for each in self._schedule.outages
                if each.since <= moment and (each.until is None or moment < each.until)
            ],
        )
        new = self._identified(new)
        self._history.append(new)
        self._by_id[new.id] = new
        return new

    def _identified(self, calibration: Calibration) -> Calibration:
        # All that decides the figures is in the id, so that an id never stands for others.
        text = f"{self._backend}/{calibration.model_dump_json()}"
        return calibration.model_copy(update={"id": str(uuid.uuid5(_NAMESPACE, text))})


def applied(properties: dict[str, Any], calibration: Calibration, backend: str) -> dict[str, Any]:
    """Return the snapshot's properties as a calibration changes them; the argument is changed."""
    if calibration.at is None:
        return properties
    date = iso(calibration.at)
    digest = hashlib.sha256(f"{calibration.seed}/{backend}/{calibration.number}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    properties["last_update_date"] = date
    for facts in properties["qubits"]:
        _shift_qubit(facts, rng, calibration.spread, date)
    for gate in properties["gates"]:
        for fact in gate["parameters"]:
            fact["date"] = date
            if fact["name"] == "gate_error":
                fact["value"] = _scaled(fact["value"], rng, calibration.spread)
    for outage in calibration.faulty:
        _break(properties, outage, date)
    return properties


def _shift_qubit(
    facts: list[dict[str, Any]], rng: np.random.Generator, spread: float, date: str | None
) -> None:
    found = {fact["name"]: fact for fact in facts}
    physical = _possible(found)
    for fact in facts:
        if fact["name"] in ("T1", "T2"):
            fact["value"] *= float(rng.lognormal(0, spread))
        elif fact["name"] in (*_FLIPS, "readout_error"):
            fact["value"] = _scaled(fact["value"], rng, spread)
        fact["date"] = date
    if physical and not _possible(found):
        found["T2"]["value"] = 2 * found["T1"]["value"]
    if all(name in found for name in (*_FLIPS, "readout_error")):
        found["readout_error"]["value"] = sum(found[name]["value"] for name in _FLIPS) / 2


def _possible(found: dict[str, dict[str, Any]]) -> bool:
    return "T1" in found and "T2" in found and found["T2"]["value"] <= 2 * found["T1"]["value"]


def _scaled(value: float, rng: np.random.Generator, spread: float) -> float:
    factor = float(rng.lognormal(0, spread))
    # 0 is exact and 1 means broken: neither drifts.
    return min(value * factor, 0.999) if 0 < value < 1 else value


def _break(properties: dict[str, Any], outage: Outage, date: str | None) -> None:
    fact = {"date": date, "name": "operational", "unit": "", "value": 0}
    if outage.gate is None:
        for qubit in outage.qubits:
            if qubit < len(properties["qubits"]):
                properties["qubits"][qubit].append(dict(fact))
        return
    for gate in properties["gates"]:
        if gate["gate"] == outage.gate and sorted(gate["qubits"]) == sorted(outage.qubits):
            gate["parameters"].append(dict(fact))
