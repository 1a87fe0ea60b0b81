"""The fault plan in force: which rule fires now. What it does to a request is done elsewhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from .faultplan import Plan, described, parse_plan
from .faultrules import (
    Answer,
    CancelLosesRace,
    Drip,
    Drop,
    Fail,
    ListLate,
    Malformed,
    Moment,
    ResultGone,
    ResultLate,
    RevokeKey,
    Rule,
    ShowStatus,
    Stall,
    TokenLifetime,
    When,
)
from .model import Job
from .store import Store
from .visit import Subject, Visit
from .world import reached

_SETTING = "fault_plan"
_GENERATION = "token_generation"

Kind = TypeVar("Kind", bound=Rule)


class Injector:
    """Decides by the plan, and persists every decision before it has an effect.

    Args:
        store: Where plan and counters are kept.
        initial: Plan to begin with when none is kept.
    """

    def __init__(self, store: Store, initial: Plan | None = None) -> None:
        self._store = store
        self._since: dict[str, float] = {}
        self._plan = Plan(version=1)
        kept = store.setting(_SETTING)
        if kept is not None:
            self._plan = parse_plan(kept["plan"])
            self._since = kept["since"]
        elif initial is not None:
            self._plan = initial
            store.faults.forget_counts()
            self._keep()

    # -- the plan --------------------------------------------------------------------------

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return self._plan

    def replace(self, plan: Plan, now: float) -> None:
        """Put a plan in force, with all counters at zero."""
        with self._store.together():
            self._store.faults.forget_counts()
            self._plan = plan
            self._since = {rule.name: now for rule in plan.faults}
            self._keep()

    def add(self, rows: Sequence[Any], now: float) -> None:
        """Append rules to the plan; those that are there keep their counters.

        Raises:
            DocumentError: A rule is wrong; nothing has changed.
        """
        document = self._plan.document()
        plan = parse_plan({**document, "faults": [*document["faults"], *rows]})
        for rule in plan.faults[len(self._plan.faults) :]:
            self._since[rule.name] = now
        self._plan = plan
        self._keep()

    def view(self) -> dict[str, Any]:
        """Return the plan; each rule with ``matched``, ``fired`` and a ``description``."""
        document, totals = self._plan.document(), self._store.faults.totals()
        for row, rule in zip(document["faults"], self._plan.faults, strict=True):
            row["since"] = self._since.get(rule.name)
            row["matched"], row["fired"] = totals.get(rule.name, (0, 0))
            row["description"] = described(rule)
        return document

    # -- questions -------------------------------------------------------------------------

    def concerns(self, endpoint: str) -> bool:
        """Whether any rule could matter to a request to this endpoint."""
        return any(endpoint in rule.endpoints for rule in self._plan.faults)

    def alters_replies(self, endpoint: str) -> bool:
        """Whether a rule could fire between handling a request and its reply."""
        rules = self._rules("request", Rule)
        return any(endpoint in rule.endpoints and _when(rule) == "after" for rule in rules)

    def request(self, visit: Visit, when: When) -> list[Rule]:
        """Return the rules that fire for a request, in order.

        The first one that replaces the reply is the last; those behind it do not see the request.
        """
        firing: list[Rule] = []
        for rule in self._rules("request", Rule):
            if _when(rule) == when and self._fires(rule, visit.subject, visit):
                firing.append(rule)
                if not isinstance(rule, Stall | Drip):
                    break
        return firing

    def accepted(self, job: Job, visit: Visit) -> Fail | None:
        """Return how a job that is being accepted will fail, and decide when it is listed."""
        failure: Fail | None = None
        # The tags stand for the job, so that they do when it is submitted again, too.
        subject = Subject("submit", None, job.tags, job.backend)
        for rule in self._rules("accepted", Rule):
            if isinstance(rule, Fail) and failure is not None:
                continue
            if not self._fires(rule, subject, visit):
                continue
            self._store.faults.touch(job.id, rule.name)
            if isinstance(rule, Fail):
                failure = rule
            elif isinstance(rule, ListLate):
                self._store.faults.hide(job.id, job.created + rule.seconds, rule.direct)
        return failure

    def cancel_reply(self, job: Job, visit: Visit) -> int | None:
        """Return what a cancel that comes too late is answered; None: it is in time."""
        for rule in self._rules("cancel", CancelLosesRace):
            if self._fires(rule, Subject.of("cancel", job), visit):
                return rule.reply
        return None

    def result_status(self, job: Job, visit: Visit) -> int | None:
        """Return the status to answer with instead of a completed job's result, if any."""
        for rule in self._rules("result", Rule):
            assert isinstance(rule, ResultLate | ResultGone)
            if isinstance(rule, ResultLate) and reached(_done(job) + rule.seconds, visit.now):
                continue
            if self._fires(rule, Subject.of("result", job), visit):
                return rule.status
        return None

    def is_hidden(self, job: Job, visit: Visit) -> bool:
        """Whether a request for the job itself does not find it yet."""
        return self._store.faults.is_hidden(job.id, visit.now)

    def unlisted(self, now: float) -> list[str]:
        """Return the jobs that are not listed yet."""
        return self._store.faults.unlisted(now)

    def has(self, phase: str) -> bool:
        """Whether there are rules of a phase."""
        return any(rule.phase == phase for rule in self._plan.faults)

    def chosen(self, phase: str, jobs: Sequence[Job], visit: Visit) -> list[tuple[Rule, set[str]]]:
        """Return rules that fire for a listing, each with the ids of the jobs it is for.

        A match is a listing with at least one job that the filters fit; with ``per_job``, each
        of those jobs is a match.
        """
        firing = []
        for rule in self._rules(phase, Rule):
            subjects = [Subject.of(visit.endpoint, job) for job in jobs]
            fitting = [each for each in subjects if self._fits(rule, each, visit)]
            if rule.per_job:
                fitting = [each for each in fitting if self._counted(rule, each)]
            elif fitting and not self._counted(rule, fitting[0]):
                fitting = []
            ids = {str(subject.job_id) for subject in fitting}
            for job_id in ids:
                self._store.faults.touch(job_id, rule.name)
            if ids:
                visit.note(rule.name)
                firing.append((rule, ids))
        return firing

    def shown(self, jobs: Sequence[Job], visit: Visit) -> dict[str, str]:
        """Return ``{job id: status text}`` of the jobs shown with another status."""
        texts: dict[str, str] = {}
        for rule, ids in self.chosen("shown", jobs, visit):
            assert isinstance(rule, ShowStatus)
            texts = {**dict.fromkeys(ids, rule.text), **texts}
        return texts

    def count(self, visit: Visit) -> Iterator[Rule]:
        """Yield the rules that change the count of a listing."""
        for rule in self._rules("count", Rule):
            if self._fires(rule, visit.subject, visit):
                yield rule

    # -- identity --------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        """Tokens of an older generation than this are not accepted."""
        return int(self._store.setting(_GENERATION) or 0)

    def expire_tokens(self, visit: Visit) -> None:
        """Begin a new generation of tokens if a rule says so."""
        for rule in self._rules("identity", Rule):
            with self._store.together():
                if self._fires(rule, visit.subject, visit):
                    self._store.set_setting(_GENERATION, self.generation + 1)

    def token_lifetime(self, visit: Visit) -> TokenLifetime | None:
        """Return the rule that shortens the life of a token being issued."""
        for rule in self._rules("token", TokenLifetime):
            if self._fires(rule, visit.subject, visit):
                return rule
        return None

    def is_revoked(self, key: str, visit: Visit) -> bool:
        """Whether a rule refuses an API key."""
        rules = [rule for rule in self._rules("key", RevokeKey) if rule.key == key]
        return any(self._fires(rule, visit.subject, visit) for rule in rules)

    # -- inside ----------------------------------------------------------------------------

    def _rules(self, phase: str, kind: type[Kind]) -> Iterable[Kind]:
        return [r for r in self._plan.faults if r.phase == phase and isinstance(r, kind)]

    def _fires(self, rule: Rule, subject: Subject, visit: Visit) -> bool:
        if not self._fits(rule, subject, visit) or not self._counted(rule, subject):
            return False
        visit.note(rule.name)
        if subject.job_id is not None:
            self._store.faults.touch(subject.job_id, rule.name)
        return True

    def _fits(self, rule: Rule, subject: Subject, visit: Visit) -> bool:
        return (
            subject.endpoint in rule.endpoints
            and (rule.job is None or rule.job == subject.job_id)
            and (rule.backend is None or rule.backend == subject.backend)
            and (rule.tag is None or any(_tagged(rule.tag, tag) for tag in subject.tags))
            and self._in_window(rule, visit.now)
        )

    def _counted(self, rule: Rule, subject: Subject) -> bool:
        """Count a match and return whether the rule fires at it."""
        key = _key(subject) if rule.per_job else ""
        matched, fired = self._store.faults.counts(rule.name, key)
        matched += 1
        fires = (
            matched > rule.after
            and (rule.times is None or fired < rule.times)
            and self._drawn(rule, key, matched)
        )
        self._store.faults.set_counts(rule.name, key, matched, fired + fires)
        return fires

    def _drawn(self, rule: Rule, key: str, ordinal: int) -> bool:
        if rule.probability >= 1:
            return True
        text = json.dumps([self._plan.seed, rule.name, key, ordinal])
        digest = hashlib.sha256(text.encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < rule.probability

    def _in_window(self, rule: Rule, now: float) -> bool:
        if rule.start is None and rule.until is None and rule.lasting is None:
            return True
        if rule.name not in self._since:
            # A plan given at start-up: before the first request a followed clock shows nothing.
            self._since[rule.name] = now
            self._keep()
        since = self._since[rule.name]
        start = since if rule.start is None else _absolute(rule.start, since)
        if not reached(start, now):
            return False
        if rule.until is not None:
            return not reached(_absolute(rule.until, since), now)
        return rule.lasting is None or not reached(start + rule.lasting, now)

    def _keep(self) -> None:
        kept = {"plan": self._plan.document(), "since": self._since}
        self._store.set_setting(_SETTING, kept)


def _when(rule: Rule) -> When:
    if isinstance(rule, Drop | Answer | Stall):
        return rule.when
    return "after" if isinstance(rule, Malformed | Drip) else "before"


def _done(job: Job) -> float:
    assert job.finished is not None
    return job.finished


def _tagged(wanted: str, tag: str) -> bool:
    return tag.startswith(wanted[:-1]) if wanted.endswith("*") else tag == wanted


def _key(subject: Subject) -> str:
    if subject.endpoint == "submit":
        return json.dumps(sorted(subject.tags))
    return subject.job_id or ""


def _absolute(moment: Moment, since: float) -> float:
    return since + float(moment) if isinstance(moment, str) else moment
