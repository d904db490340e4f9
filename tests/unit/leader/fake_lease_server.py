"""An in-process server of one Lease: checks resourceVersions, fails as a test tells it to. Not a cluster."""

from __future__ import annotations

import copy
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web
from kubernetes.aio.client import Configuration

from stanch.kube.client import Kube
from stanch.kube.transport import Timeouts, Transport

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable

Json = dict[str, Any]


@dataclass(frozen=True)
class Location:
    url: str

    async def load(self) -> Configuration:
        return Configuration(host=self.url)


@dataclass
class FakeLeaseServer:
    """`faults`: one per request to come; each returns the code to answer, 0 to serve, or does worse."""

    url: str = ""
    lease: Json | None = None
    version: int = 0
    births: int = 0
    writes: list[str] = field(default_factory=list)
    faults: list[Callable[[web.Request], int]] = field(default_factory=list)
    lose_answers: int = 0
    hang: asyncio.Event | None = None

    def steal(self, holder: str) -> None:
        assert self.lease is not None
        self.store({**self.lease["spec"], "holderIdentity": holder})

    def touch(self) -> None:
        """Somebody labels the lease: another version, the same holder."""
        assert self.lease is not None
        self.store(self.lease["spec"])

    def store(self, spec: Json) -> None:
        self.version += 1
        self.births += self.lease is None
        metadata = {"name": "stanch", "uid": f"uid-{self.births}", "resourceVersion": str(self.version)}
        self.lease = {"metadata": metadata, "spec": spec}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.hang is not None:
            await self.hang.wait()
        if self.faults:
            code = self.faults.pop(0)(request)
            if code:
                return refuse(code)
        answer = self.serve(request.method, json.loads(await request.text() or "null"))
        if request.method != "GET" and self.lose_answers:
            self.lose_answers -= 1
            assert request.transport is not None
            request.transport.abort()
        return answer

    def serve(self, method: str, body: Json | None) -> web.StreamResponse:
        if method == "GET" or body is None:
            return refuse(404) if self.lease is None else web.json_response(self.lease)
        if method == "POST" and self.lease is not None:
            return refuse(409, "AlreadyExists")
        if method == "PUT":
            # As the real one does: an update creates what is gone, unless it names the uid of what was there.
            named = {key: body["metadata"].get(key) for key in ("uid", "resourceVersion")}
            there = {} if self.lease is None else self.lease["metadata"]
            if any(value is not None and value != there.get(key) for key, value in named.items()) and (
                self.lease is not None or named["uid"] is not None
            ):
                return refuse(409, "Conflict")
        self.store(body["spec"])
        self.writes.append(body["spec"]["holderIdentity"])
        return web.json_response(copy.deepcopy(self.lease))

    @asynccontextmanager
    async def client(self, *, request_timeout: float = 5.0) -> AsyncIterator[Kube]:
        kube = Kube(Transport(Location(self.url), Timeouts(request_timeout, 1.0)))
        try:
            yield kube
        finally:
            await kube.close()


def refuse(code: int, reason: str = "NotFound") -> web.Response:
    body = {"kind": "Status", "reason": reason, "message": "as told", "details": {"name": "stanch"}}
    return web.json_response(body, status=code)


@asynccontextmanager
async def fake_lease_server() -> AsyncIterator[FakeLeaseServer]:
    server = FakeLeaseServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        if server.hang is not None:
            server.hang.set()
        await runner.cleanup()
