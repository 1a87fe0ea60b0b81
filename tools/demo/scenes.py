"""The scenes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from qsaga.core.jobs import Budgets, JobRequest
from qsaga.core.states import Rung
from qsaga.problems.files import read_problem
from tools.demo import people
from tools.demo.director import Director, Play, optimise, optimum
from tools.demo.relay import Relay
from tools.servers import ROOT

HOURS = 3600.0
DEADLINE = 60.0
"""Seconds: on a machine at other work a circuit may take twenty to reach the hardware."""
G14_BEST = 3064
"""Best cut known of G14 (Benlic and Hao 2013, doi:10.1016/j.engappai.2012.09.001)."""
G14_GAP = 0.005
G14_SECONDS = 8.0

ABILENE = {
    "maximum cut": read_problem(ROOT / "data" / "abilene.edges", "maxcut"),
    "independent set": read_problem(ROOT / "data" / "abilene.edges", "independent_set"),
}
MAXCUT = ABILENE["maximum cut"]
OPTIMUM = {title: optimum(problem) for title, problem in ABILENE.items()}
MAXCUT_BEST = OPTIMUM["maximum cut"]


@dataclass
class Scene:
    """A scene and, once it was played, its jobs. ``act`` fills in the jobs as it goes."""

    number: int
    title: str
    act: Callable[[Director, Scene], Awaitable[None]]
    plays: list[Play] = field(default_factory=list)
    failure: str = ""

    def play(self, title: str, best_known: float, letter: str = "") -> Play:
        """One more job of this scene."""
        play = Play(f"{self.number}{letter} {title}", title, best_known)
        self.plays.append(play)
        return play

    @property
    def ok(self) -> bool:
        """Whether it came to its end and every claim holds."""
        return not self.failure and bool(self.plays) and all(play.ok for play in self.plays)


async def hardware_answers(director: Director, scene: Scene) -> None:
    """Two real problems on the hardware, beside what the policy alone would have done."""
    await director.queue(2, 1.0)
    await _abilene(director, scene, "1", _hardware_claims)
    for play in scene.plays:
        if play.request is not None:
            free = play.request.model_copy(update={"route": None, "key": f"{play.request.key}-p"})
            play.alternative = await director.client.plan(free)
            chosen = play.alternative.ladder[0].value
            play.claim("the policy alone would say annealing", chosen == "annealing", chosen)


def _hardware_claims(play: Play) -> None:
    play.claim("completed", play.state == "completed", play.state)
    play.claim("answered by hardware", play.source == "hardware", play.source)
    play.claim("the optimum was found", play.answer == play.best_known, play.answer)
    _counts(play, created=1, charged=1)


async def queue_too_long(director: Director, scene: Scene) -> None:
    """Hours of queue against seconds: noticed by waiting, and before the submission."""
    budgets = Budgets(deadline=DEADLINE, queue=4, solve=1)
    waited = scene.play("queue over budget, noticed by waiting", MAXCUT_BEST, "a")
    await director.queue(3, HOURS)
    request = optimise(MAXCUT, "2-waits", route=Rung.HARDWARE, budgets=budgets)
    await director.play(waited, request)
    _fallback_claims(waited)
    cancelled = [job["state"] for job in waited.remote]
    waited.claim("the remote job was cancelled", cancelled == ["Cancelled"], cancelled)
    _counts(waited, created=1, charged=0)

    forecast = scene.play("queue over budget, by forecast", MAXCUT_BEST, "b")
    await director.queue(400, HOURS)
    request = optimise(MAXCUT, "2-forecast", route=Rung.HARDWARE, budgets=budgets)
    await director.play(forecast, request)
    _fallback_claims(forecast)
    _counts(forecast, created=0, charged=0)


def _fallback_claims(play: Play) -> None:
    play.claim("degraded", play.state == "degraded", play.state)
    play.claim("answered by annealing", play.source == "annealing", play.source)
    play.claim(f"in time ({DEADLINE:g} s)", play.seconds < DEADLINE, f"{play.seconds:.1f} s")
    play.claim("the optimum was found", play.answer == play.best_known, play.answer)
    play.claim("the account is closed", bool(play.account and play.account.closed))


async def worker_killed(director: Director, scene: Scene) -> None:
    """kill -9 while the hardware job waits, and again while its result is fetched."""
    play = scene.play("worker killed twice", MAXCUT_BEST)
    stage = director.stage
    await director.queue(3, HOURS)
    request = optimise(MAXCUT, "3-killed", route=Rung.HARDWARE)
    handle = await director.start(play, request)
    finishing = asyncio.create_task(director.finish(play, handle))
    try:
        with Relay(stage.emulator.url, rb"GET \S*/jobs/[^/ ]+/results") as relay:
            await director.waits(play, handle)
            await _kill(director, play, "kill -9, job queued")
            await director.worker(QSAGA_IBM__PROXY=relay.url)
            play.mark("worker back")
            await director.calm()
            held = await asyncio.to_thread(relay.held.wait, 60)
            play.claim("the worker was asking for the result when it was killed again", held)
            await _kill(director, play, "kill -9, fetching")
        await director.worker()
        play.mark("worker back")
        await finishing
    finally:
        finishing.cancel()
    _hardware_claims(play)
    posts = sum(job["posts"] for job in play.remote)
    play.claim("one request ever created a remote job", posts == 1, posts)


async def _kill(director: Director, play: Play, label: str) -> None:
    await asyncio.to_thread(director.stage.kill_worker)
    play.mark(label)
    director.board.note(f"{play.title}: {label}")


async def late_result(director: Director, scene: Scene) -> None:
    """The cancel comes too late: the hardware answers after the fallback was served."""
    play = scene.play("cancel lost the race", MAXCUT_BEST)
    await asyncio.to_thread(director.control.set_faults, cancel_loses_race=True)
    await director.queue(1, 5.0)
    budgets = Budgets(deadline=DEADLINE, queue=2, solve=1)
    request = optimise(MAXCUT, "4-late", route=Rung.HARDWARE, budgets=budgets)
    await director.play(play, request)
    _fallback_claims(play)
    late = play.account.late_results if play.account else ()
    compared = [item.comparison for item in late]
    play.claim("the late result is on the record", len(late) == 1, compared)
    play.claim("it was compared", bool(late) and late[0].difference is not None, compared)
    charges = play.account.charges if play.account else ()
    paid = sum(charge.cost.quantum_seconds for charge in charges)
    truth = sum(job["charged_seconds"] for job in play.remote)
    play.claim("it was paid for", paid == truth and paid > 0, f"{paid:g} of {truth:g} s")
    _counts(play, created=1, charged=1)


async def too_big(director: Director, scene: Scene) -> None:
    """800 vertices: too big for the hardware, so annealing, and the reason is shown."""
    play = scene.play("G14, 800 vertices", G14_BEST)
    problem = read_problem(ROOT / "data" / "G14.txt", "maxcut")
    budgets = Budgets(deadline=60, solve=G14_SECONDS)
    await director.play(play, optimise(problem, "5-g14", budgets=budgets))
    play.claim("completed", play.state == "completed", play.state)
    play.claim("answered by annealing", play.source == "annealing", play.source)
    reason = play.route_reason or ""
    play.claim("the reason is shown", "too big for the hardware" in reason, reason)
    least = (1 - G14_GAP) * G14_BEST
    play.claim(f"cut within {G14_GAP:.1%} of best known", (play.answer or 0) >= least, play.answer)
    _counts(play, created=0, charged=0)


async def hardware_off(director: Director, scene: Scene) -> None:
    """All hardware switched off by one flag: scene 1 still answers."""
    await asyncio.to_thread(director.stage.stop_worker, 5.0)
    await director.worker(QSAGA_HARDWARE="false")

    def claims(play: Play) -> None:
        _fallback_claims(play)
        reason = play.route_reason or ""
        play.claim("the reason is shown", "switched off" in reason, reason)
        _counts(play, created=0, charged=0)

    await _abilene(director, scene, "9", claims, Budgets(solve=1))


async def approved(director: Director, scene: Scene) -> None:
    """A person says yes."""
    await people.approved(director, scene.play("approved by signal", MAXCUT_BEST), MAXCUT)


async def rejected(director: Director, scene: Scene) -> None:
    """A person says no."""
    await people.rejected(director, scene.play("rejected by a person", MAXCUT_BEST), MAXCUT)


async def refused(director: Director, scene: Scene) -> None:
    """No budget is left."""
    await people.refused(director, scene.play("refused for lack of budget", MAXCUT_BEST), MAXCUT)


async def _abilene(
    director: Director,
    scene: Scene,
    key: str,
    claims: Callable[[Play], None],
    budgets: Budgets | None = None,
) -> None:
    jobs: list[tuple[Play, JobRequest]] = []
    for letter, (title, problem) in zip("ab", ABILENE.items(), strict=True):
        play = scene.play(f"Abilene, {title}", OPTIMUM[title], letter)
        request = optimise(
            problem,
            f"{key}-{title.replace(' ', '-')}",
            route=Rung.HARDWARE,
            budgets=budgets or Budgets(),
        )
        jobs.append((play, request))
    await asyncio.gather(*(director.play(play, request) for play, request in jobs))
    for play, _ in jobs:
        claims(play)


def _counts(play: Play, *, created: int, charged: int) -> None:
    seen = f"{len(play.remote)} created, {len(play.charged)} charged"
    play.claim(f"remote jobs created: {created}", len(play.remote) == created, seen)
    play.claim(f"remote jobs charged: {charged}", len(play.charged) == charged, seen)


def all_scenes() -> list[Scene]:
    """The scenes in order."""
    return [
        Scene(1, "Two problems of a real network, on hardware", hardware_answers),
        Scene(2, "Hours of queue against a budget of seconds", queue_too_long),
        Scene(3, "The worker is killed, twice", worker_killed),
        Scene(4, "The hardware answers after the fallback", late_result),
        Scene(5, "Too big for the hardware", too_big),
        Scene(6, "Dear enough for a question: approved", approved),
        Scene(7, "Dear enough for a question: rejected", rejected),
        Scene(8, "The month's budget is used up", refused),
        Scene(9, "All hardware switched off", hardware_off),
    ]
