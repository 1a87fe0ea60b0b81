"""The outermost layer: local paths, counts, the request log, and what the fault plan does."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .engine import Engine
from .errors import ApiError
from .faultrules import Answer, Drip, Drop, Malformed, Outage, Rule, Stall
from .paths import counted_as, make_local
from .visit import Visit

_PIECES = 20
_DROPPED = 0
_UNHANDLED = 0
_WITHOUT_BODY = (204, 304)


class Gateway:
    """Makes proxied requests local, counts and logs every request, applies the fault plan."""

    def __init__(self, app: ASGIApp, engine: Engine) -> None:
        self._app = app
        self._engine = engine
        self._counts: Counter[tuple[str, int]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        make_local(scope)
        reply = _Reply(send)
        is_control = scope["path"].startswith("/control") or scope["path"] == "/"
        began, wall = time.perf_counter(), time.time()
        visit = scope["visit"] = Visit.of(scope)
        visit.now = self._engine.settings.clock.local()
        try:
            if is_control:
                await self._app(scope, receive, reply)
            else:
                await self._faulty(visit, scope, receive, reply)
        except BaseException:
            # The server answers this with 500 when nothing was sent yet.
            reply.status = reply.status or 500
            raise
        finally:
            status = reply.status
            self._counts[(counted_as(scope), _DROPPED if status is None else status)] += 1
            if not is_control:
                self._engine.store.log.add(
                    at=visit.now,
                    wall=wall,
                    method=visit.method,
                    endpoint=visit.endpoint,
                    path=visit.path,
                    status=status,
                    seconds=time.perf_counter() - began,
                    job_id=visit.job_id,
                    tags=visit.tags if visit.endpoint == "submit" else (),
                    faults=visit.fired,
                )

    def flush(self) -> None:
        """Persist what was counted and logged since the last time."""
        with self._engine.store.together():
            self._engine.store.log.flush()
            if self._counts:
                counts, self._counts = self._counts, Counter()
                self._engine.store.add_request_counts(
                    (endpoint, status, count) for (endpoint, status), count in counts.items()
                )

    async def _faulty(self, visit: Visit, scope: Scope, receive: Receive, reply: _Reply) -> None:
        engine = self._engine
        try:
            engine.settings.faults.before_request()
        except ApiError as error:
            await JSONResponse(error.envelope(), error.status)(scope, receive, reply)
            return
        if not engine.settings.plan.concerns(visit.endpoint):
            await self._app(scope, receive, reply)
            return
        visit.now = await engine.time()
        # Read before anything happens: a client that gives up in a stall has sent it already.
        body = _Body(receive, engine.config.max_body_bytes)
        await body.read()
        self._know_job(visit, body)
        before = engine.settings.plan.request(visit, "before")
        await _stall(before)
        replaced = _replacing(before)
        if replaced is not None:
            self._note_unhandled(visit, replaced)
            await _replace(replaced, scope, body, reply)
            return
        engine.settings.plan.expire_tokens(visit)
        if not engine.settings.plan.alters_replies(visit.endpoint):
            await self._app(scope, body.receive, reply)
            self._note(visit, reply.status)
            return
        held = _Held()
        await self._app(scope, body.receive, held)
        after = engine.settings.plan.request(visit, "after") if held.status < 400 else []
        replaced = _replacing(after)
        self._note(visit, _told(replaced, held.status))
        await _stall(after)
        if replaced is None or isinstance(replaced, Malformed):
            pause = sum(rule.seconds for rule in after if isinstance(rule, Drip))
            await held.deliver(reply, replaced, pause)
        else:
            await _replace(replaced, scope, body, reply)

    def _know_job(self, visit: Visit, body: _Body) -> None:
        if visit.endpoint in ("submit", "session_open"):
            visit.read_body(body.content)
        elif visit.job_id is not None and (job := self._engine.store.job(visit.job_id)):
            visit.tags, visit.backend = job.tags, job.backend

    def _note_unhandled(self, visit: Visit, rule: Rule) -> None:
        if visit.endpoint == "submit":
            store = self._engine.store
            with store.together():
                visit.post = store.add_post(visit.now, _UNHANDLED, None, visit.tags)
                told = _told(rule, _UNHANDLED)
                store.faults.note_post(visit.fired, told, post=visit.post)

    def _note(self, visit: Visit, answered: int | None) -> None:
        if visit.endpoint != "submit" or not visit.fired:
            return
        faults = self._engine.store.faults
        with self._engine.store.together():
            if visit.job_id is not None:
                faults.note_post(visit.fired, answered, job_id=visit.job_id)
                for rule in visit.fired:
                    faults.touch(visit.job_id, rule)
            elif visit.post is not None:
                faults.note_post(visit.fired, answered, post=visit.post)


class _Reply:
    """Sends, and knows the status that was sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
        await self._send(message)


class _Body:
    """A request's body, read to its end and handed on again.

    One that is larger than the limit is handed on as far as it was read, then as it comes: the
    handler refuses it.
    """

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._messages: list[Message] = []

    async def read(self) -> None:
        size, more = 0, True
        while more and size <= self._limit:
            message = await self._receive()
            self._messages.append(message)
            size += len(message.get("body", b""))
            more = bool(message.get("more_body", False))

    @property
    def content(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self._messages)

    async def receive(self) -> Message:
        return self._messages.pop(0) if self._messages else await self._receive()

    async def disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue


class _Held:
    """Keeps a reply back."""

    def __init__(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = b""
        self.status = 500

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            self._headers = list(message.get("headers", []))
        else:
            self._body += message.get("body", b"")

    async def deliver(self, send: Send, wrong: Malformed | None, seconds: float) -> None:
        """Send it, spoiled if a rule says so, and spread over some real seconds."""
        body = self._body
        if wrong is not None and self.status not in _WITHOUT_BODY:
            body = body[: int(len(body) * (wrong.fraction or 0.0))]
            body = body if wrong.text is None else wrong.text.encode()
        headers = [(name, value) for name, value in self._headers if name != b"content-length"]
        if self.status not in _WITHOUT_BODY:
            headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        pieces = _PIECES if seconds else 1
        for place in range(pieces):
            if seconds:
                await asyncio.sleep(seconds / pieces)
            part = body[len(body) * place // pieces : len(body) * (place + 1) // pieces]
            is_last = place == pieces - 1
            await send({"type": "http.response.body", "body": part, "more_body": not is_last})


def _replacing(rules: Sequence[Rule]) -> Drop | Answer | Outage | Malformed | None:
    last = rules[-1] if rules else None
    return last if isinstance(last, Drop | Answer | Outage | Malformed) else None


def _told(rule: Rule | None, true: int) -> int | None:
    """Return the status that is sent under a rule, None when the connection is dropped."""
    if isinstance(rule, Drop):
        return None
    return rule.status if isinstance(rule, Answer | Outage) else true


async def _stall(rules: Sequence[Rule]) -> None:
    seconds = sum(rule.seconds for rule in rules if isinstance(rule, Stall))
    if seconds:
        await asyncio.sleep(seconds)


async def _replace(rule: Rule, scope: Scope, body: _Body, send: Send) -> None:
    if isinstance(rule, Drop):
        scope["state"]["transport"].abort()
        # Returning earlier would make the server answer 500 on a connection that is closing.
        await body.disconnected()
        return
    assert isinstance(rule, Answer | Outage)
    await _answer(rule)(scope, body.receive, send)


def _answer(rule: Answer | Outage) -> Response:
    if isinstance(rule, Outage):
        error = ApiError(rule.status, "The service is temporarily unavailable.")
        return JSONResponse(error.envelope(), rule.status)
    headers = dict(rule.headers)
    if rule.status in _WITHOUT_BODY:
        return Response(status_code=rule.status, headers=headers)
    if rule.document is not None:
        return JSONResponse(rule.document, rule.status, headers)
    if rule.body is not None:
        typed = any(name.lower() == "content-type" for name in headers)
        return Response(rule.body, rule.status, headers, None if typed else "text/plain")
    if rule.status < 400:
        return Response(status_code=rule.status, headers=headers)
    error = ApiError(rule.status, f"This answer was ordered by the fault rule {rule.name!r}.")
    return JSONResponse(error.envelope(), rule.status, headers)
