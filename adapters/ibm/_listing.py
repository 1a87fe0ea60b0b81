"""Lists of jobs, page by page, complete even while jobs come and end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adapters.ibm._schema import Job, Page, read

PAGE = 200
"""Jobs a page; the service takes no more."""

OVERLAP = 1


def listed(client: Any, tag: str, *, pending: bool | None = None) -> Iterator[Job]:
    """Every listed job with the tag, each once, oldest first.

    Pages are asked for by offset, so that a job that ends between two pages moves all later ones
    forward. So each page overlaps the one before it: if it does not begin with a job that was
    seen, something was skipped, and an earlier page is read again. New jobs come at the end.

    Ends at a page that brings nothing new, whatever the count says: with a wrong count the
    client's own listing asks for ever. A job whose tags are told and lack ours is left out, so
    that a listing that ignores the filter cannot make us adopt another's job.

    Args:
        client: the API client.
        tag: of the jobs.
        pending: True lists those that have not ended, None all.

    Raises:
        SchemaDrift: a page is not of the form we know.
    """
    seen: set[str] = set()
    offset, catching_up = 0, False
    while True:
        page = _page(client, tag, offset, pending)
        if offset and not (page.jobs and page.jobs[0].id in seen):
            offset, catching_up = max(0, offset - PAGE), True
            continue
        fresh = {job.id: job for job in page.jobs if job.id not in seen}
        seen.update(fresh)
        yield from (job for job in fresh.values() if job.tags is None or tag in job.tags)
        end = offset + len(page.jobs)
        if len(page.jobs) < PAGE and page.count <= end:
            return
        following = max(end - OVERLAP, 0)
        # A page that was read again may hold nothing new although later ones do.
        if not fresh and not (catching_up and following > offset):
            return
        offset, catching_up = following, catching_up and not fresh


def _page(client: Any, tag: str, offset: int, pending: bool | None) -> Page:
    raw = client.jobs_get(
        limit=PAGE, skip=offset, job_tags=[tag], pending=pending, descending=False
    )
    return read(Page, raw, "GET /jobs")
