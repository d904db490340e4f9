"""An in-process HTTP server: answers what a test tells it to, keeps what it was asked. Not a cluster."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from kubernetes.aio.client import Configuration

from stanch.kube.client import Kube
from stanch.kube.transport import Fence, Timeouts, Transport

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class FakeApiServer:
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def will_answer(self, code: int, body: object = None, headers: dict[str, str] | None = None) -> None:
        async def answer(_request: web.Request) -> web.StreamResponse:
            return web.json_response({} if body is None else body, status=code, headers=headers)

        self.answers.append(answer)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.asked.append(
            Asked(
                request.method,
                request.path,
                dict(request.query),
                dict(request.headers),
                json.loads(text) if text else None,
            )
        )
        if not self.answers:
            return web.json_response({})
        return await self.answers.pop(0)(request)


@dataclass
class FakeCredentials:
    """Serves the tokens one after the other, the last one for ever."""

    url: str
    tokens: list[str] = field(default_factory=lambda: ["first"])
    loads: int = 0

    async def load(self) -> Configuration:
        token = self.tokens[min(self.loads, len(self.tokens) - 1)]
        self.loads += 1
        return Configuration(host=self.url, api_key={"BearerToken": f"Bearer {token}"} if token else {})


@asynccontextmanager
async def fake_api_server() -> AsyncIterator[FakeApiServer]:
    server = FakeApiServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client_of(
    server: FakeApiServer,
    *,
    credentials: FakeCredentials | None = None,
    request_timeout: float = 5.0,
    fence: Fence | None = None,
) -> AsyncIterator[Kube]:
    transport = Transport(credentials or FakeCredentials(server.url), Timeouts(request_timeout, 1.0))
    kube = Kube(transport) if fence is None else Kube(transport, fence)
    try:
        yield kube
    finally:
        await kube.close()
