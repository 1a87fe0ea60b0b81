"""One page of jobs as a listing shows it, the fault plan's changes included."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .faultrules import ListCount, ListMissing, ListTwice
from .injector import Injector
from .model import Job
from .store import JobQuery, Store
from .visit import Visit


@dataclass(frozen=True)
class Page:
    """A page and what it claims.

    Attributes:
        count: How many jobs there are in all, as the reply says.
        shown: Status texts of jobs that are shown with another one than they have.
    """

    jobs: list[Job]
    count: int
    shown: dict[str, str]


def page(store: Store, injector: Injector, query: JobQuery, visit: Visit) -> Page:
    """Return the page that a query asks for."""
    query = replace(query, excluded=injector.unlisted(visit.now))
    if injector.has("listing"):
        jobs, count = _edited(store, injector, query, visit)
    else:
        jobs, count = store.find(query)
    for rule in injector.count(visit):
        assert isinstance(rule, ListCount)
        count = max(0, count + rule.by)
    return Page(jobs, count, injector.shown(jobs, visit))


def _edited(
    store: Store, injector: Injector, query: JobQuery, visit: Visit
) -> tuple[list[Job], int]:
    # Pages must fit together, so the whole listing is changed before it is cut.
    jobs, count = store.find(replace(query, limit=None, offset=0))
    for rule, ids in injector.chosen("listing", jobs, visit):
        if isinstance(rule, ListMissing):
            kept = [job for job in jobs if job.id not in ids]
            count -= 0 if rule.counted else len(jobs) - len(kept)
            jobs = kept
        elif isinstance(rule, ListTwice):
            count += len(ids) if rule.counted else 0
            jobs = [job for job in jobs for _ in range(2 if job.id in ids else 1)]
    last = None if query.limit is None else query.offset + query.limit
    return jobs[query.offset : last], count
