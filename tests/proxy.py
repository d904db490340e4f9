"""A reverse proxy before the API server that counts writes and loses connections at the worst moment.

It terminates TLS with a certificate of the sandbox's authority, passes everything on (watches stream), and
counts *changes*: POST, PUT, PATCH and DELETE requests that are no dry run and no mere bookkeeping (Leases,
Events, tokens, access reviews).
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self, TypeVar

import aiohttp
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from sandbox import Sandbox

_MUTATING = {"POST", "PUT", "PATCH", "DELETE"}
_BOOKKEEPING = {
    "events",
    "leases",
    "selfsubjectaccessreviews",
    "selfsubjectrulesreviews",
    "subjectaccessreviews",
    "token",
    "tokenreviews",
}
_HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding", "upgrade"}
_PATIENCE = 10.0  # seconds

T = TypeVar("T")


class When(StrEnum):
    """On which side of the API server the connection is lost."""

    BEFORE = "before"  # the server never sees the write
    AFTER = "after"  # the server has done the write, the client never hears of it


@dataclass(frozen=True)
class Request:
    """What the client asked for; `query` with its leading `?`, if any."""

    method: str
    path: str
    query: str = ""

    @property
    def is_watch(self) -> bool:
        return "watch=true" in self.query or "watch=1" in self.query

    @property
    def is_dry_run(self) -> bool:
        return "dryRun=" in self.query

    @property
    def is_write(self) -> bool:
        return self.method in _MUTATING and not self.is_dry_run

    @property
    def is_change(self) -> bool:
        """A write that containing or releasing consists of."""
        return self.is_write and not _BOOKKEEPING & set(self.path.split("/"))

    def within(self, namespace: str) -> bool:
        """Whether it is about this namespace or something in it."""
        return f"{self.path}/".startswith(f"/api/v1/namespaces/{namespace}/") or (
            f"/namespaces/{namespace}/" in f"{self.path}/"
        )

    def __str__(self) -> str:
        return f"{self.method} {self.path}{self.query}"


@dataclass(frozen=True)
class Cut:
    """Lose the connection at the n-th counted write (from 1), then answer nobody until `heal`."""

    n: int
    when: When


@dataclass
class _Mood:
    """What the proxy does to requests at the moment."""

    counted: Callable[[Request], bool]
    cut: Cut | None = None
    refusing: bool = False
    swallowing: bool = False
    status: int | None = None  # every request is answered so
    expired_watches: int = 0  # so many watches are answered 410 yet
    changes: list[Request] = field(default_factory=list)
    expired: list[Request] = field(default_factory=list)
    refused: int = 0
    unanswered: int = 0


class Proxy:
    """`with Proxy(sandbox) as proxy: … proxy.url`. It runs on a thread; any other may call it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._lock = threading.Lock()
        self._mood = _Mood(counted=lambda request: request.is_change)
        self._lost = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._open: set[asyncio.Transport] = set()
        self._delay = 0.0
        self._runner: web.AppRunner | None = None
        self._upstream: aiohttp.ClientSession | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        self.url = self._run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)
        self._loop.close()

    @property
    def changes(self) -> tuple[Request, ...]:
        """The counted writes since `count`, in the order of their arrival."""
        with self._lock:
            return tuple(self._mood.changes)

    @property
    def expired(self) -> tuple[Request, ...]:
        """The watches that were told that their version is gone."""
        with self._lock:
            return tuple(self._mood.expired)

    @property
    def refused(self) -> int:
        """How many requests were answered with the status of `answer_all` since it was set."""
        with self._lock:
            return self._mood.refused

    @property
    def unanswered(self) -> int:
        """How many requests since `count` have no answer, or none but that of a server in trouble."""
        with self._lock:
            return self._mood.unanswered

    def count(self, counted: Callable[[Request], bool], cut: Cut | None = None) -> None:
        """Start counting anew, only what `counted` picks; with `cut`, be ready to lose that write."""
        self._lost.clear()
        with self._lock:
            self._mood = _Mood(counted, cut)

    def wait_lost(self, seconds: float) -> bool:
        """Whether the write of `Cut` came, and with it the end of all connections."""
        return self._lost.wait(seconds)

    @property
    def lost(self) -> bool:
        return self._lost.is_set()

    def heal(self) -> None:
        """Pass everything on again; what was counted stays."""
        with self._lock:
            self._mood.cut = None
            self._mood.refusing = False
            self._mood.swallowing = False
            self._mood.status = None

    def answer_all(self, status: int) -> None:
        """End all connections; until `heal`, the API server is not asked and everybody gets this status."""
        with self._lock:
            self._mood.status = status
            self._mood.refused = 0
        self.hang_up()

    def refuse(self) -> None:
        """End all connections; until `heal`, every further one ends as soon as something is asked on it."""
        with self._lock:
            self._mood.refusing = True
        self.hang_up()

    def swallow(self) -> None:
        """Until `heal`, as a network that loses every packet: nothing ends, nothing arrives, either way.

        What was swallowed never arrives.
        """
        with self._lock:
            self._mood.swallowing = True

    def slow(self, seconds: float) -> None:
        """From now on every request waits so long before it is passed on; 0: none does."""
        self._delay = seconds

    def expire_watches(self, count: int) -> None:
        """End all connections; the next so many watches learn that what they want to go on from is gone."""
        with self._lock:
            self._mood.expired_watches = count
            self._mood.expired = []
        self.hang_up()

    def hang_up(self) -> None:
        """End every open connection, in the middle of whatever it carries."""
        self._run(self._abort())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    async def _start(self) -> str:
        context = ssl.create_default_context(cafile=str(self._sandbox.ca_file))
        self._upstream = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0),
            timeout=aiohttp.ClientTimeout(total=None, connect=_PATIENCE),
            auto_decompress=False,
        )
        application = web.Application(client_max_size=16 * 2**20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=0.5
        )
        await self._runner.setup()
        pair = self._sandbox.server_certificate("proxy")
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(pair.certificate, pair.key)
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=serving)
        await site.start()
        port = self._runner.addresses[0][1]
        return f"https://127.0.0.1:{port}"

    async def _end(self) -> None:
        await self._abort()
        assert self._runner is not None
        assert self._upstream is not None
        await self._runner.cleanup()
        await self._upstream.close()
        await asyncio.sleep(0.1)  # aiohttp's TLS transports need turns of the loop to end

    async def _abort(self) -> None:
        for transport in tuple(self._open):
            transport.abort()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        assert isinstance(request.transport, asyncio.Transport)
        transport = request.transport
        self._open.add(transport)
        try:
            return await self._judge(request)
        finally:
            self._open.discard(transport)

    async def _judge(self, request: web.Request) -> web.StreamResponse:
        asked = Request(
            request.method, request.path, f"?{request.query_string}" if request.query_string else ""
        )
        lost: When | None = None
        with self._lock:
            mood = self._mood
            if mood.status is not None:
                mood.refused += 1
                return _status(mood.status, "Unauthorized" if mood.status == 401 else "InternalError")
            if not mood.refusing and asked.is_watch and mood.expired_watches:
                mood.expired_watches -= 1
                mood.expired.append(asked)
                return _expired()
            if not mood.refusing and mood.counted(asked):
                mood.changes.append(asked)
                if mood.cut is not None and len(mood.changes) == mood.cut.n:
                    lost = mood.cut.when
                    mood.refusing = True
            refusing = mood.refusing
        if self._mood.swallowing:
            await _for_ever()
        if refusing and lost is not When.AFTER:
            return await self._lose(request, told=lost is not None)
        if lost is When.AFTER:
            async with self._ask(request, await request.read()) as answer:
                await answer.read()
            return await self._lose(request, told=True)
        return await self._pass_on(request)

    async def _lose(self, request: web.Request, *, told: bool) -> web.StreamResponse:
        """The end of this connection and, at the chosen write, of all others."""
        if told:
            await self._abort()
            self._lost.set()
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=502)  # goes nowhere: there is no connection any more

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        answered = self._wait_for_answer()
        try:
            await asyncio.sleep(self._delay)
            async with self._ask(request, await request.read()) as answer:
                if self._mood.swallowing:
                    await _for_ever()
                if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    answered()
                headers = {
                    name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP
                }
                response = web.StreamResponse(status=answer.status, headers=headers)
                await response.prepare(request)
                with suppress(ConnectionResetError):  # the client went away
                    async for piece in answer.content.iter_any():
                        if self._mood.swallowing:
                            await _for_ever()
                        await response.write(piece)
                    await response.write_eof()
                return response
        except (aiohttp.ClientError, TimeoutError):
            # The API server is down or died: the client sees what it would see without a proxy.
            return await self._lose(request, told=False)

    def _wait_for_answer(self) -> Callable[[], None]:
        """One more request without an answer, until what is returned is called."""
        with self._lock:
            mood = self._mood
            mood.unanswered += 1

        def answered() -> None:
            with self._lock:
                mood.unanswered -= 1

        return answered

    def _ask(self, request: web.Request, body: bytes) -> Any:
        assert self._upstream is not None
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        return self._upstream.request(
            request.method, f"{self._sandbox.server}{request.raw_path}", headers=headers, data=body or None
        )


async def _for_ever() -> None:
    """Until the client hangs up, which cancels us."""
    await asyncio.Event().wait()


def _expired() -> web.Response:
    """How the API server ends a watch from a version it no longer has: with an event, not by HTTP."""
    event = {"type": "ERROR", "object": _problem(410, "Expired")}
    return web.Response(text=json.dumps(event) + "\n", content_type="application/json")


def _status(code: int, reason: str) -> web.Response:
    return web.json_response(_problem(code, reason), status=code)


def _problem(code: int, reason: str) -> dict[str, object]:
    """A metav1.Status, as the API server sends it."""
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": reason,
    }
