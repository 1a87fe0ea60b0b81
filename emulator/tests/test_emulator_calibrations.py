"""Calibrations in virtual time."""

from __future__ import annotations

import json

from emulator.tests.bench import HOUR, START, Bench
from ibm_quantum_emulator.calibration import Calibrations, Schedule, applied
from ibm_quantum_emulator.config import BackendSpec
from ibm_quantum_emulator.model import iso
from ibm_quantum_emulator.snapshot import Snapshot


async def test_calibrations_change_what_is_served_and_stay_readable(bench: Bench) -> None:
    await bench.world(
        recalibration={"every_hours": 6, "spread": 0.05},
        faulty=[{"qubits": [2], "in_hours": 7}, {"qubits": [0, 1], "gate": "cx", "in_hours": 7}],
    )
    calibrations = bench.engine.around.calibrations["small"]
    first = calibrations.current
    early = await bench.submit()
    await bench.step(20 * HOUR)
    late = await bench.submit()
    history = calibrations.history
    moments = [bench.since_start(each.at) for each in history]
    assert moments == [None, 6 * HOUR, 7 * HOUR, 12 * HOUR, 18 * HOUR]
    assert bench.job(early).calibration_id == first.id
    assert bench.job(late).calibration_id == history[-1].id
    around = bench.engine.around
    served = [json.loads(around.properties("small", each)) for each in history]
    assert served[1]["last_update_date"] == iso(START + 6 * HOUR)
    base, new = served[0]["qubits"][0], served[1]["qubits"][0]
    changes = {a["name"]: b["value"] / a["value"] for a, b in zip(base, new, strict=True)}
    assert changes["T1"] != 1
    assert 0.75 < changes["T1"] < 1.3
    assert 0.75 < changes["readout_error"] < 1.3
    assert changes["frequency"] == 1
    assert served[1] != served[3]
    broken = {fact["name"]: fact["value"] for fact in served[-1]["qubits"][2]}
    assert broken["operational"] == 0
    gates = {tuple(g["qubits"]): g["parameters"] for g in served[-1]["gates"] if g["gate"] == "cx"}
    assert gates[(0, 1)][-1]["name"] == gates[(1, 0)][-1]["name"] == "operational"
    await bench.again()
    again = bench.engine.around
    assert [each.id for each in again.calibrations["small"].history] == [e.id for e in history]
    assert json.loads(again.properties("small", history[1])) == served[1]


def test_figures_stay_possible() -> None:
    snapshot = Snapshot(BackendSpec(name="small", snapshot="manila"))
    calibrations = Calibrations("small", 3)
    calibrations.set_schedule(Schedule(first=10, every=10, spread=1.0), 3, 0)
    calibrations.caught_up(500)
    assert len(calibrations.history) == 51
    for calibration in calibrations.history[1:]:
        found = applied(json.loads(snapshot.properties), calibration, "small")
        for facts in found["qubits"]:
            named = {fact["name"]: fact["value"] for fact in facts}
            assert 0 < named["T2"] <= 2 * named["T1"]
            assert 0 < named["readout_error"] < 1
        errors = [
            fact["value"]
            for gate in found["gates"]
            for fact in gate["parameters"]
            if fact["name"] == "gate_error"
        ]
        assert all(0 <= error <= 1 for error in errors)
