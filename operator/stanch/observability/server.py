"""HTTP for machines: probes and metrics, and over TLS a receiver of alerts and of audit events."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import ValidationError

from stanch.certificates.files import CertificateFiles
from stanch.observability.audit import AuditBatch, DenialFilter, Denied
from stanch.observability.listener import MAX_LINE_BYTES, Listener
from stanch.observability.tokens import TokenFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.typedefs import Handler

    from stanch.certificates.kept import KeptCertificate
    from stanch.observability.metrics import Metrics
    from stanch.settings import Settings

log = structlog.get_logger(__name__)

HEARTBEAT_STALE_SECONDS = 30.0
MAX_BATCH_BYTES = 2 * 1024 * 1024


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


def audit_events(
    tokens: TokenFile, on_denied: Callable[[Denied], None], leads: Callable[[], bool]
) -> Handler:
    """Takes batches of audit events. Only denials by our policies are passed on, nothing is kept."""
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

    return audit


def receiver(*, audit: Handler | None = None, alerts: Handler | None = None) -> web.Application:
    """`POST /audit` and `POST /alerts`, each where somebody may send to it."""
    app = web.Application(client_max_size=MAX_BATCH_BYTES)
    if audit is not None:
        app.router.add_post("/audit", audit)
    if alerts is not None:
        app.router.add_post("/alerts", alerts)
    return app


@dataclass(slots=True)
class Servers:
    """Start and stop both servers; `http_port` and `receiver_port` tell where they listen.

    `alerts` takes `POST /alerts`: `AlertReceiver.handle`. None: there is no such path.
    `certificate` is that of the receiver. None: that of the files which the settings name.
    """

    settings: Settings
    health: Health
    metrics: Metrics
    on_denied: Callable[[Denied], None]
    leads: Callable[[], bool]
    alerts: Handler | None = None
    certificate: KeptCertificate | None = None
    http_port: int = 0
    receiver_port: int | None = None
    _runner: web.AppRunner | None = None
    _listener: Listener | None = None

    async def start(self) -> None:
        """Raises OSError if a port is taken or a certificate cannot be read."""
        runner = web.AppRunner(
            probes(self.health, self.metrics),
            access_log=None,
            shutdown_timeout=1.0,
            max_line_size=MAX_LINE_BYTES,
        )
        await runner.setup()
        self._runner = runner
        await web.TCPSite(runner, self.settings.http_host, self.settings.http_port).start()
        self.http_port = int(runner.addresses[0][1])
        log.info("probes and metrics are served", port=self.http_port)
        if self.settings.receiver_port is None:
            return
        if self.alerts is None and self.settings.signal_credentials_file is not None:
            raise ValueError("signal_credentials_file is set, but nothing takes the alerts")
        audit = None
        if self.settings.receiver_token_file is not None:
            audit = audit_events(TokenFile(self.settings.receiver_token_file), self.on_denied, self.leads)
        certificate = self.certificate or tls(self.settings)
        self._listener = Listener(receiver(audit=audit, alerts=self.alerts), certificate.context)
        self.metrics.receiver_certificate_end.set_function(lambda: certificate.ends)
        await self._listener.start(self.settings.http_host, self.settings.receiver_port)
        self.receiver_port = self._listener.port
        log.info(
            "audit events and alerts are received",
            port=self.receiver_port,
            audit_events=audit is not None,
            alerts=self.alerts is not None,
        )

    async def stop(self) -> None:
        if self._listener is not None:
            await self._listener.stop()
            self._listener = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


def tls(settings: Settings) -> CertificateFiles:
    """The receiver's certificate where others renew it. Raises OSError if a file cannot be used."""
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        raise ValueError("the receiver needs tls_cert_file and tls_key_file")
    return CertificateFiles(settings.tls_cert_file, settings.tls_key_file, settings.signal_client_ca_file)
