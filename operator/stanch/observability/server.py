"""HTTP for machines: probes and metrics, and over TLS a receiver of the API server's audit events."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import ValidationError

from stanch.observability.audit import AuditBatch, DenialFilter, Denied
from stanch.observability.tokens import TokenFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from stanch.observability.metrics import Metrics
    from stanch.settings import Settings

log = structlog.get_logger(__name__)

HEARTBEAT_STALE_SECONDS = 30.0
MAX_BATCH_BYTES = 2 * 1024 * 1024
MAX_LINE_BYTES = 8190


@dataclass(slots=True)
class Health:
    """What the probes answer. `standing` says whether and as what the process is ready; None: not ready."""

    standing: Callable[[], str | None]
    clock: Callable[[], float] = time.monotonic
    _beat: float = field(init=False)

    def __post_init__(self) -> None:
        self._beat = self.clock()

    def beat(self) -> None:
        self._beat = self.clock()

    @property
    def silence(self) -> float:
        return self.clock() - self._beat


def probes(health: Health, metrics: Metrics) -> web.Application:
    async def healthz(_request: web.Request) -> web.Response:
        if health.silence > HEARTBEAT_STALE_SECONDS:
            return web.Response(
                status=HTTPStatus.INTERNAL_SERVER_ERROR, text=f"no heartbeat for {health.silence:.0f} s\n"
            )
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        standing = health.standing()
        if standing is None:
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text="not ready\n")
        return web.Response(text=f"{standing}\n")

    async def render(_request: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", render)
    return app


def receiver(
    tokens: TokenFile, on_denied: Callable[[Denied], None], leads: Callable[[], bool]
) -> web.Application:
    """`POST /audit`: batches of audit events. Only denials by our policies are passed on, nothing is kept."""
    denials = DenialFilter()

    async def audit(request: web.Request) -> web.Response:
        if not tokens.accepts(request.headers.get("Authorization", "")):
            return web.Response(status=HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"})
        if not leads():
            # The sender tries again, and over a fresh connection it may reach the leader.
            refusal = web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": "1"})
            refusal.force_close()
            return refusal
        body = await request.read()  # aiohttp answers 413 beyond client_max_size
        try:
            batch = AuditBatch.model_validate_json(body)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part) for part in problem["loc"])
            return web.Response(
                status=HTTPStatus.BAD_REQUEST,
                text=f"no audit.k8s.io/v1 EventList: {where}: {problem['msg']}\n",
            )
        for denied in denials.select(batch):
            on_denied(denied)
        return web.Response(status=HTTPStatus.OK)

    app = web.Application(client_max_size=MAX_BATCH_BYTES)
    app.router.add_post("/audit", audit)
    return app


@dataclass(slots=True)
class Servers:
    """Start and stop both servers; `http_port` and `receiver_port` tell where they listen."""

    settings: Settings
    health: Health
    metrics: Metrics
    on_denied: Callable[[Denied], None]
    leads: Callable[[], bool]
    http_port: int = 0
    receiver_port: int | None = None
    _runners: list[web.AppRunner] = field(default_factory=list)

    async def start(self) -> None:
        """Raises OSError if a port is taken or a certificate cannot be read."""
        self.http_port = await self._serve(
            probes(self.health, self.metrics), self.settings.http_port, context=None
        )
        log.info("probes and metrics are served", port=self.http_port)
        if self.settings.receiver_port is None:
            return
        cert, key, token_file = (
            self.settings.tls_cert_file,
            self.settings.tls_key_file,
            self.settings.receiver_token_file,
        )
        if cert is None or key is None or token_file is None:
            raise ValueError("the receiver needs tls_cert_file, tls_key_file and receiver_token_file")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(cert, key)
        app = receiver(TokenFile(token_file), self.on_denied, self.leads)
        self.receiver_port = await self._serve(app, self.settings.receiver_port, context=context)
        log.info("audit events are received", port=self.receiver_port)

    async def stop(self) -> None:
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    async def _serve(self, app: web.Application, port: int, *, context: ssl.SSLContext | None) -> int:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, max_line_size=MAX_LINE_BYTES)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, self.settings.http_host, port, ssl_context=context).start()
        address = runner.addresses[0]
        return int(address[1])
