"""qsaga's annealing portfolio beside other solvers: gap to the best known value on one core.

Published instances and seeded random ones, sparse and dense. Every solver gets the same seconds
and the same seeds, one run at a time, in turns, so that a busy machine is busy for all. Each
energy is computed again here from the spins. Prints Markdown and writes build/bench-solvers.json
and build/bench-solvers.md. For random instances the best known value is the best of these runs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dimod
import neal
from dwave.samplers import TabuSampler

from adapters.annealing import NealSolver
from benchmarks.environments import Peer, environment
from benchmarks.machine import describe
from benchmarks.solver_instances import Instance, instances
from qsaga.problems.verify import dump_model

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "build" / "bench-solvers.json"
PINS = {"openjij": "0.12.2", "ortools": "9.15.6755", "numpy": "2.4.6"}
PEERS = ("openjij", "cp-sat")
QSAGA = "qsaga"
SEEDS = {1.0: 20, 10.0: 5}
"""Seeds for each length of a run."""

NEAR = 0.99
NEAR_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0)
AIM_NEAR = 0.5
VERTICES = 800

Solver = Callable[[Instance, float, int], "float | None"]


def portfolio(given: Instance, seconds: float, seed: int) -> float:
    """What the product runs, from the bytes of the model to those of the sample set."""
    raw = NealSolver().solve(dump_model(given.model), seconds, seed)
    return _lowest(given, dimod.SampleSet.from_serializable(json.loads(raw)))


def neal_restarts(given: Instance, seconds: float, seed: int) -> float | None:
    """neal at its defaults, 1000 sweeps a read, again and again."""
    return _neal(given, seconds, seed, 1000, 1)


def neal_doubling(given: Instance, seconds: float, seed: int) -> float | None:
    """neal with twice the sweeps in each read, the last cut to the time left."""
    return _neal(given, seconds, seed, 16, 2)


def linear_doubling(given: Instance, seconds: float, seed: int) -> float | None:
    """The same on a linear schedule from 0.2/s to 10/s, s the root mean square of a field."""
    pairs = given.model.quadratic.values()
    squares = sum(h**2 for h in given.model.linear.values()) + 2 * sum(j**2 for j in pairs)
    scale = math.sqrt(squares / given.model.num_variables)
    linear = {"beta_range": (0.2 / scale, 10 / scale), "beta_schedule_type": "linear"}
    return _neal(given, seconds, seed, 16, 2, **linear)


def _neal(
    given: Instance, seconds: float, seed: int, sweeps: int, growth: int, **schedule: Any
) -> float | None:
    began, best, rate = time.perf_counter(), math.inf, 0.0
    while True:
        start = time.perf_counter()
        left = seconds - (start - began)
        if rate * sweeps > left:
            if growth == 1 or left < 0.1 * seconds:
                break
            sweeps = max(1, int(0.9 * left / rate))
        found = neal.SimulatedAnnealingSampler().sample(
            given.model, num_reads=1, num_sweeps=sweeps, seed=seed, **schedule
        )
        if time.perf_counter() - began > seconds * 1.02:
            break
        best = min(best, _lowest(given, found))
        rate = (time.perf_counter() - start) / sweeps
        sweeps, seed = sweeps * growth, seed + 1000
    return best if best < math.inf else None


def tabu(given: Instance, seconds: float, seed: int) -> float:
    """dwave-samplers' tabu search with its own restarts."""
    timeout = max(1, int(1000 * seconds))
    return _lowest(given, TabuSampler().sample(given.model, timeout=timeout, seed=seed))


def _lowest(given: Instance, found: Any) -> float:
    best = found.first.sample
    return float(given.model.energy(best))


class SolverPeer(Peer):
    """A solver in a process of its own."""

    def __init__(self, name: str) -> None:
        super().__init__(name, environment("openjij", PINS), "solver_peer.py")
        self._model: Instance | None = None

    def __call__(self, given: Instance, seconds: float, seed: int) -> float | None:
        """One run. Raises RuntimeError if the process has ended."""
        asked: list[dict[str, Any]] = []
        if self._model is not given:
            self._model = given
            order = range(given.model.num_variables)
            vectors: Any = given.model.to_numpy_vectors(variable_order=order)
            fields, (heads, tails, pairs), _ = vectors
            ends = zip(heads.tolist(), tails.tolist(), pairs.tolist(), strict=True)
            asked.append({"fields": fields.tolist(), "pairs": list(ends)})
        spins = self.answer(*asked, {"seconds": seconds, "seed": seed})["spins"]
        return None if spins is None else float(given.model.energy(dict(enumerate(spins))))


OWN: dict[str, Solver] = {
    QSAGA: portfolio,
    "neal restarts": neal_restarts,
    "neal doubling": neal_doubling,
    "neal linear doubling": linear_doubling,
    "tabu": tabu,
}


def measure(given: Instance, solvers: dict[str, Solver], seconds: float, seeds: int) -> Any:
    """All solvers on one instance: seed by seed, in turns."""
    runs: dict[str, list[dict[str, float | None]]] = {name: [] for name in solvers}
    for seed in range(1, seeds + 1):
        for name, solve in solvers.items():
            began, cpu = time.perf_counter(), time.process_time()
            energy = solve(given, seconds, seed)
            took = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
            runs[name].append({"seed": seed, "energy": energy, **took})
    return {"instance": given.name, "seconds": seconds, "best": given.best, "runs": runs}


def judge(measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Gaps in percent, and whether qsaga is no worse than the best other beyond seed noise.

    Noise is two standard errors of the difference, seed by seed.
    """
    lowest: dict[str, float] = {}
    for one in measured:
        found = [run["energy"] for runs in one["runs"].values() for run in runs]
        found += [one["best"]]
        least = min(energy for energy in found if energy is not None)
        lowest[one["instance"]] = min(lowest.get(one["instance"], math.inf), least)
    rows = []
    for one in measured:
        best = lowest[one["instance"]] if one["best"] is None else one["best"]
        gaps = {
            name: [_gap(run["energy"], best) for run in runs] for name, runs in one["runs"].items()
        }
        means = {name: statistics.mean(values) for name, values in gaps.items()}
        row = {
            "instance": one["instance"],
            "seconds": one["seconds"],
            "best": best,
            "published": one["best"] is not None,
            "mean_gap": means,
            "median_gap": {name: statistics.median(values) for name, values in gaps.items()},
        }
        others = [name for name in means if name != QSAGA]
        if QSAGA in means and others:
            rival = min(others, key=lambda name: means[name])
            apart = [a - b for a, b in zip(gaps[QSAGA], gaps[rival], strict=True)]
            noise = 2 * statistics.stdev(apart) / math.sqrt(len(apart)) if apart[1:] else 0.0
            row |= {"rival": rival, "noise": noise, "no_worse": statistics.mean(apart) <= noise}
        rows.append(row)
    return rows


def _gap(energy: float | None, best: float) -> float:
    return 100.0 if energy is None else 100 * (energy - best) / abs(best)


def soon(given: Instance, best: float, seeds: int) -> dict[str, Any]:
    """The shortest time of those tried in which every seed comes within a percent of the best."""
    for seconds in NEAR_SECONDS:
        runs = measure(given, {QSAGA: portfolio}, seconds, seeds)["runs"][QSAGA]
        if all(run["energy"] <= NEAR * best for run in runs):
            took = max(run["seconds"] for run in runs)
            return {"instance": given.name, "asked": seconds, "took": round(took, 3)}
    return {"instance": given.name, "asked": None, "took": None}


def table(rows: list[dict[str, Any]], names: Sequence[str]) -> str:
    """Mean gaps in percent, as Markdown; the best of each row is bold."""
    lines = []
    for seconds in dict.fromkeys(row["seconds"] for row in rows):
        ours = [row for row in rows if row["seconds"] == seconds]
        lines += [
            f"Mean gap in percent after {seconds:g} s on one core:",
            "",
            f"| instance | {' | '.join(names)} | no worse than the best other |",
            f"|---|{'---|' * len(names)}---|",
        ]
        for row in ours:
            said = {True: "yes", False: "no", None: ""}[row.get("no_worse")]
            mark = "" if row["published"] else " *"
            lines.append(f"| {row['instance']}{mark} | {_cells(row['mean_gap'], names)} | {said} |")
        total = {name: statistics.mean(row["mean_gap"][name] for row in ours) for name in names}
        lines += [f"| mean | {_cells(total, names)} | |", ""]
    return "\n".join([*lines, "\\* best known: the best of these runs. 100: nothing was found."])


def _cells(gaps: dict[str, float], names: Sequence[str]) -> str:
    least = min(gaps.values())
    shown = ((f"{gaps[name]:.3f}", gaps[name] <= least) for name in names)
    return " | ".join(f"**{text}**" if best else text for text, best in shown)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for."""
    known = [*OWN, *PEERS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, nargs="+", default=list(SEEDS))
    parser.add_argument("--seeds", type=int, help="for each length; 20 of 1 s, 5 of others")
    parser.add_argument("--instances", nargs="+")
    parser.add_argument("--solvers", nargs="+", default=known, choices=known)
    return parser.parse_args(given)


def main() -> None:
    """Measure, print, write."""
    asked = arguments()
    chosen = instances(asked.instances)
    measured: list[dict[str, Any]] = []
    with ExitStack() as opened:
        solvers = {name: OWN[name] for name in asked.solvers if name in OWN}
        for name in (name for name in asked.solvers if name in PEERS):
            solvers[name] = opened.enter_context(SolverPeer(name))
        for seconds in asked.seconds:
            for one in chosen:
                seeds = asked.seeds or SEEDS.get(seconds, 5)
                measured.append(measure(one, solvers, seconds, seeds))
                print(f"{one.name}, {seconds:g} s, {seeds} seeds", flush=True)
    rows = judge(measured)
    best = {row["instance"]: row["best"] for row in rows}
    near = []
    if QSAGA in solvers:
        large = [one for one in chosen if one.model.num_variables == VERTICES]
        near = [soon(one, best[one.name], asked.seeds or 5) for one in large]
    done = {
        **describe(["dimod", "dwave-neal", "dwave-samplers", "numpy"]),
        "peers": PINS if set(PEERS) & set(solvers) else {},
        "load_average_at_the_end": os.getloadavg()[0],
        "rows": rows,
        "time_to_99_percent": near,
        "measured": measured,
    }
    text = _report(done, list(solvers))
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(done, indent=1) + "\n")
    TARGET.with_suffix(".md").write_text(text + "\n")
    print(text)


def _report(done: dict[str, Any], names: Sequence[str]) -> str:
    versions = {**done["versions"], **done["peers"]}
    seeds = {
        f"{one['seconds']:g} s": len(next(iter(one["runs"].values()))) for one in done["measured"]
    }
    lines = [
        f"{done['machine']}; " + ", ".join(f"{name} {number}" for name, number in versions.items()),
        "seeds from 1: "
        + ", ".join(f"{count} of {length}" for length, count in seeds.items())
        + f"; load average at the end {done['load_average_at_the_end']:.1f}",
        "",
        table(done["rows"], names),
    ]
    for one in done["time_to_99_percent"]:
        met = one["asked"] is not None and one["took"] < AIM_NEAR
        told = f"{one['took']} s" if one["took"] is not None else "not reached"
        lines.append(
            f"\n99 % of best known, every seed, {one['instance']}: {told} "
            f"({'below' if met else 'not below'} {AIM_NEAR:g} s)"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
