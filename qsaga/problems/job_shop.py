"""Job-shop scheduling: jobs through machines, each in its own order, all done soon."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Any, NamedTuple, Self

import dimod
import numpy as np
from pydantic import Field, JsonValue, field_validator, model_validator
from pydantic_core import PydanticCustomError

from qsaga.problems import drawing, schedules
from qsaga.problems.base import Bits, Bools, Floats, ProblemInput, ProblemType
from qsaga.problems.exact import WHOLE, Sums
from qsaga.problems.graphs import check_names
from qsaga.problems.orlib import JOB_SHOP_FILE
from qsaga.problems.schedules import Shop
from qsaga.problems.tables import PlainName
from qsaga.problems.time_windows import Windows, coupling_count, couplings, fitted

MOST_COUPLINGS = 5_000_000
USUAL_COUPLINGS = 100_000
"""The finest time step of which the model has no more couplings is taken if none is given."""

WORK = 60_000
"""Of one local search: moves times steps of all jobs, which takes about half a second."""

MOST_STEPS = 400
"""Of all jobs together: beyond, even the coarsest model is too large."""

Duration = Annotated[int, Field(ge=1, le=1_000_000)]


class Step(NamedTuple):
    """``[machine, duration]``."""

    machine: PlainName
    duration: Duration


class Job(ProblemInput):
    """What is done, one step after another."""

    name: PlainName
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=100)]


class JobShopInput(ProblemInput):
    """Jobs and their steps on machines that do one thing at a time, without interruption.

    Args:
        jobs: each with its steps in order.
        horizon: all must be done by then; no limit if left out.
        time_step: the model's steps start at multiples of it. A longer one makes a smaller model.
            1 is exact; without it the finest of 1, 2, 5, 10, … is taken whose model has no more
            than 100,000 couplings.
    """

    jobs: Annotated[tuple[Job, ...], Field(min_length=1, max_length=200)]
    horizon: Annotated[int, Field(ge=1, le=10**9)] | None = None
    time_step: Annotated[int, Field(ge=1, le=10**6)] | None = None

    @field_validator("jobs")
    @classmethod
    def _names_once(cls, jobs: tuple[Job, ...]) -> tuple[Job, ...]:
        check_names([job.name for job in jobs])
        return jobs

    @model_validator(mode="after")
    def _small_enough(self) -> Self:
        if (steps := sum(len(job.steps) for job in self.jobs)) > MOST_STEPS:
            raise _too_many("jobs", f"{steps} steps", f"at most {MOST_STEPS}")
        count = coupling_count(plan(self).windows)
        if count > MOST_COUPLINGS:
            allowed = f"a longer time step; at most {MOST_COUPLINGS:,} couplings"
            raise _too_many("time_step", f"the model would have {count:,} couplings", allowed)
        return self


def _too_many(field: str, problem: str, allowed: str) -> PydanticCustomError:
    return PydanticCustomError(
        "too_many", "{problem}", {"problem": problem, "at": field, "allowed": allowed}
    )


class Schedule(NamedTuple):
    """When operations start, and by when all is said to be done.

    Args:
        starts: for each operation the times that a sample starts it at; one in a schedule.
        done: the end that the sample's makespan variables tell, a multiple of the time step;
            None if they contradict each other.
    """

    starts: tuple[tuple[int, ...], ...]
    done: int | None


class Plan(NamedTuple):
    """What follows from an input. ``windows`` count in time steps, all else in time."""

    shop: Shop
    names: tuple[str, ...]
    machines: tuple[str, ...]
    step: int
    windows: Windows
    bound: int


@lru_cache(maxsize=8)
def plan(given: JobShopInput) -> Plan:
    """Operations, bounds, and the times at which each operation may start."""
    steps = [(job, k, step) for job in given.jobs for k, step in enumerate(job.steps)]
    machines = tuple(dict.fromkeys(step.machine for _, _, step in steps))
    counter = iter(range(len(steps)))
    shop = Shop(
        jobs=tuple(tuple(next(counter) for _ in job.steps) for job in given.jobs),
        machines=tuple(machines.index(step.machine) for _, _, step in steps),
        durations=tuple(step.duration for _, _, step in steps),
    )
    length, windows = fitted(shop, given.time_step, given.horizon, USUAL_COUPLINGS)
    return Plan(
        shop=shop,
        names=tuple(f"{job.name}/{k}" for job, k, _ in steps),
        machines=machines,
        step=length,
        windows=windows,
        bound=max(*schedules.lower_bounds(shop), *shop.tails),
    )


class JobShop(ProblemType[JobShopInput, Schedule]):
    """Minimum makespan in a time-indexed model (Venturelli, Marchand and Rojo 2015,
    arXiv:1506.08479). A variable says that an operation starts at a time. Its times lie between
    what its job needs before and behind it, up to the makespan of the best dispatching rule.

    The makespan is counted by variables of its own, which that paper does not have: one for each
    time step that it exceeds the lower bound. So the energy of a schedule is its makespan,
    provided that they tell its own: a sample in which they tell another counts as infeasible as
    measured, and its repair is to set them right.

    Each broken rule costs the same penalty P: an operation that starts never or twice, a step
    before the one before it ends, two operations at once on a machine, an end beyond the told
    makespan, a gap in the makespan variables. The energy is never below the lower bound L, and
    that of the rule's schedule is its makespan H. So P above H - L makes each sample
    that breaks a rule worse than that schedule; P is H - L and one time step.

    With a time step above 1 the model is the same problem with starts at multiples of it only,
    and the energy is the makespan rounded up to such a multiple. Solutions, their repair and
    their value are exact in any case.
    """

    name = "job_shop"
    formulation = "job-shop-time-makespan/1"
    decoding = "job-shop-list-tabu/2"
    title = "Job-shop schedule with the shortest makespan"
    sense = "minimise"
    columns = {"steps": ("machine", "duration")}
    reference = "Venturelli, Marchand and Rojo 2015, arXiv:1506.08479"
    example = {
        "jobs": [
            {"name": "chair", "steps": [["saw", 2], ["glue", 1], ["paint", 2]]},
            {"name": "table", "steps": [["saw", 1], ["paint", 3]]},
        ]
    }
    formats = (JOB_SHOP_FILE,)
    model = JobShopInput

    def infeasible(self, given: JobShopInput) -> str:
        """A job or a machine that needs more time than there is."""
        on = plan(given)
        if given.horizon is None or on.bound <= given.horizon:
            return ""
        for job, operations in zip(given.jobs, on.shop.jobs, strict=True):
            if (needed := on.shop.tails[operations[0]]) > given.horizon:
                return f"job {job.name!r} alone takes {needed}, the horizon is {given.horizon}"
        needs = schedules.lower_bounds(on.shop)
        machine = on.machines[needs.index(max(needs))]
        return f"machine {machine!r} is not done before {max(needs)}, after {given.horizon}"

    def variables(self, given: JobShopInput) -> tuple[str, ...]:
        on = plan(given)
        windows = zip(on.names, on.windows.first, on.windows.last, strict=True)
        starts = [
            f"{name}@{tick * on.step}"
            for name, first, last in windows
            for tick in range(first, last + 1)
        ]
        more = range(on.windows.least + 1, on.windows.end + 1)
        return (*starts, *(f"makespan@{tick * on.step}" for tick in more))

    def size(self, given: JobShopInput) -> tuple[int, int]:
        windows = plan(given).windows
        return windows.size, coupling_count(windows)

    def formulate(self, given: JobShopInput) -> dimod.BinaryQuadraticModel:
        on = plan(given)
        weight = float(on.step * (on.windows.end - on.windows.least + 1))
        found = couplings(on.windows)
        linear = np.asarray(on.windows.told * on.step, dtype=np.float64)
        linear = linear + weight * found.linear
        model: dimod.BinaryQuadraticModel = dimod.BinaryQuadraticModel.from_numpy_vectors(
            linear,
            (found.heads, found.tails, weight * found.biases),
            on.step * on.windows.least + weight * len(on.names),
            dimod.BINARY,
            variable_order=list(self.variables(given)),
        )
        return model

    def decode(self, given: JobShopInput, sample: Mapping[str, int]) -> Schedule:
        on = plan(given)
        windows = zip(on.names, on.windows.first, on.windows.last, strict=True)
        starts = tuple(
            tuple(
                tick * on.step
                for tick in range(first, last + 1)
                if sample[f"{name}@{tick * on.step}"]
            )
            for name, first, last in windows
        )
        more = range(on.windows.least + 1, on.windows.end + 1)
        told = [sample[f"makespan@{tick * on.step}"] for tick in more]
        sound = told == sorted(told, reverse=True)
        return Schedule(starts, (on.windows.least + sum(told)) * on.step if sound else None)

    def objective(self, given: JobShopInput, solution: Schedule) -> float:
        durations = plan(given).shop.durations
        ends = [
            start + duration
            for times, duration in zip(solution.starts, durations, strict=True)
            for start in times
        ]
        return float(max(ends, default=0))

    def feasible(self, given: JobShopInput, solution: Schedule) -> bool:
        on = plan(given)
        if len(solution.starts) != len(on.names) or any(len(at) != 1 for at in solution.starts):
            return False
        starts, shop = [at for (at,) in solution.starts], on.shop
        ends = [start + duration for start, duration in zip(starts, shop.durations, strict=True)]
        lines = [sorted(ops, key=lambda op: starts[op]) for ops in shop.on_machine]
        return (
            min(starts) >= 0
            and solution.done == _rounded(max(ends), on.step)
            and (given.horizon is None or max(ends) <= given.horizon)
            and all(
                starts[other] >= ends[one]
                for line in (*shop.jobs, *lines)
                for one, other in pairwise(line)
            )
        )

    def objectives(self, given: JobShopInput, bits: Bits) -> Floats:
        on = plan(given)
        ends = on.windows.times * on.step + np.repeat(on.shop.durations, on.windows.widths)
        last = np.max(bits[:, : len(ends)] * ends, axis=1, initial=0)
        return np.asarray(last, dtype=np.float64)

    def feasibles(self, given: JobShopInput, bits: Bits) -> Bools:
        on = plan(given)
        shop, windows = on.shop, on.windows
        count = len(windows.times)
        begin = np.cumsum([0, *windows.widths[:-1]])
        once = np.add.reduceat(bits[:, :count], begin, axis=1, dtype=np.int64) == 1
        starts = np.add.reduceat(bits[:, :count] * windows.times, begin, axis=1) * on.step
        ends = starts + np.array(shop.durations)
        told = bits[:, count:].astype(np.int64)
        done = (windows.least + told.sum(axis=1)) * on.step
        sound = np.all(np.diff(told, axis=1) <= 0, axis=1)
        latest = ends.max(axis=1)
        good = once.all(axis=1) & sound & (done == -(-latest // on.step) * on.step)
        if given.horizon is not None:
            good &= latest <= given.horizon
        for job in shop.jobs:
            good &= np.all(starts[:, job[1:]] >= ends[:, job[:-1]], axis=1)
        for line in shop.on_machine:
            for place, one in enumerate(line):
                others = list(line[place + 1 :])
                apart = (starts[:, others] >= ends[:, [one]]) | (
                    ends[:, others] <= starts[:, [one]]
                )
                good &= np.all(apart, axis=1)
        return np.asarray(good, dtype=np.bool_)

    def repair(self, given: JobShopInput, solution: Schedule) -> Schedule:
        """List scheduling in the order in which the sample starts things; then the local search,
        if that is not done by the horizon; else it starts anew, as ``baseline`` does.

        An operation that the sample starts never is wanted as early as its job allows.
        """
        shop = plan(given).shop
        wanted = [
            min(at, default=head) for at, head in zip(solution.starts, shop.heads, strict=True)
        ]
        starts = schedules.listed(shop, wanted)
        if given.horizon is not None and schedules.makespan(shop, starts) > given.horizon:
            starts = schedules.improved(shop, starts, WORK // len(starts), given.horizon)
        found = self._schedule(given, starts)
        return found if self.feasible(given, found) else self.baseline(given) or found

    def improve(self, given: JobShopInput, solution: Schedule) -> Schedule:
        """Tabu search over exchanges on a critical path."""
        on = plan(given)
        starts = [at for (at,) in solution.starts]
        found = schedules.improved(on.shop, starts, WORK // len(starts), on.bound)
        return self._schedule(given, found)

    def baseline(self, given: JobShopInput) -> Schedule | None:
        """The best of a few dispatching rules."""
        solution = self._schedule(given, schedules.dispatched(plan(given).shop))
        return solution if self.feasible(given, solution) else None

    def bound(self, given: JobShopInput) -> float:
        """The longest job, or the machine that needs most time by itself."""
        return float(plan(given).bound)

    def sums(self, given: JobShopInput) -> Sums:
        return WHOLE

    def bound_of_energy(self, given: JobShopInput, energy: float) -> float | None:
        """With a time step above 1 the model has a part of the schedules only."""
        return energy if plan(given).step == 1 else None

    def explain(self, given: JobShopInput, solution: Schedule) -> str:
        on = plan(given)
        busy = [sum(on.shop.durations[op] for op in ops) for ops in on.shop.on_machine]
        end = int(self.objective(given, solution))
        most = busy.index(max(busy))
        return (
            f"All {len(given.jobs)} jobs are done at {end}. The busiest machine is "
            f"{on.machines[most]}, at work for {busy[most]} of that."
        )

    def solution_json(self, given: JobShopInput, solution: Schedule) -> dict[str, JsonValue]:
        on = plan(given)
        rows: dict[str, JsonValue] = {}
        for machine, operations in zip(on.machines, on.shop.on_machine, strict=True):
            starts = {op: solution.starts[op][0] for op in operations}
            rows[machine] = [
                {
                    "job": on.names[op].rpartition("/")[0],
                    "start": starts[op],
                    "end": starts[op] + on.shop.durations[op],
                }
                for op in sorted(operations, key=lambda op: starts[op])
            ]
        return {"makespan": int(self.objective(given, solution)), "machines": rows}

    def draw(self, given: JobShopInput, solution: Mapping[str, JsonValue], axes: Any) -> None:
        """A Gantt chart: a row for each machine, a colour for each job."""
        rows: Any = solution["machines"]
        jobs = [job.name for job in given.jobs]
        for place, blocks in enumerate(rows.values()):
            for block in blocks:
                length = block["end"] - block["start"]
                shade = drawing.colour(jobs.index(block["job"]))
                axes.barh(place, length, left=block["start"], color=shade, edgecolor="white")
                if sum(map(len, rows.values())) <= drawing.MOST_NAMES:
                    middle = block["start"] + length / 2
                    words = {"ha": "center", "va": "center", "fontsize": 8, "parse_math": False}
                    axes.text(middle, place, block["job"], **words)
        axes.set_yticks(range(len(rows)))
        axes.set_yticklabels(list(rows), parse_math=False)
        axes.invert_yaxis()
        axes.set_xlabel("time")
        drawing.title(axes, f"makespan {solution['makespan']}")

    def _schedule(self, given: JobShopInput, starts: list[int]) -> Schedule:
        on = plan(given)
        done = _rounded(schedules.makespan(on.shop, starts), on.step)
        return Schedule(tuple((start,) for start in starts), done)


def _rounded(time: int, step: int) -> int:
    return math.ceil(time / step) * step


JOB_SHOP = JobShop()
"""What the entry point names."""
