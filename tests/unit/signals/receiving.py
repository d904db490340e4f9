"""A receiver on a loopback port over TLS, with an intake that only keeps what it was given."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml

from sandbox.pki import Authority
from stanch.observability.listener import Bounds, Listener
from stanch.observability.metrics import Metrics
from stanch.observability.server import receiver, tls
from stanch.queue import Key
from stanch.settings import Settings
from stanch.signals.alertmanager.credentials import Credentials
from stanch.signals.alertmanager.receiver import AlertReceiver, Limits
from stanch.signals.model import Outcome, Taken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from sandbox.pki import KeyPair
    from stanch.signals.alertmanager.api import AlertmanagerApi
    from stanch.signals.model import Signal, Speaker

NOW = 1_780_000_000.0


@dataclass
class FakeIntake:
    """Takes every signal as an incident of its own. `before` may fail or wait."""

    batches: list[tuple[list[Signal], Speaker]] = field(default_factory=list)
    before: Callable[[], Awaitable[None]] | None = None

    async def take(self, signals: Sequence[Signal], speaker: Speaker) -> list[Taken]:
        if self.before is not None:
            await self.before()
        self.batches.append((list(signals), speaker))
        return [self._became(signal, speaker) for signal in signals]

    @property
    def signals(self) -> list[Signal]:
        return [signal for batch, _ in self.batches for signal in batch]

    @property
    def speakers(self) -> list[str]:
        return [speaker.name for _, speaker in self.batches]

    @staticmethod
    def _became(signal: Signal, speaker: Speaker) -> Taken:
        namespace = signal.labels.get("namespace", "")
        if not speaker.may(namespace):
            return Taken(signal, Outcome.REFUSED, "NotForThisSender")
        if not signal.firing:
            return Taken(signal, Outcome.RESOLVED, "AlertResolved")
        incident = Key(namespace, f"incident-{signal.fingerprint}")
        return Taken(signal, Outcome.CREATED, "TriggerFired", incident=incident)


@dataclass
class Certificates:
    """Of the server, and two authorities that sign clients: only the first is ours."""

    authority: Authority
    server: KeyPair
    strangers: Authority

    @classmethod
    def at(cls, directory: Path) -> Certificates:
        authority = Authority.at(directory / "ours", "ours")
        server = authority.server("server", ("localhost",), ("127.0.0.1",))
        return cls(authority, server, Authority.at(directory / "theirs", "theirs"))

    def client_context(self, pair: KeyPair | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.pair.certificate))
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        return context


@dataclass
class Answer:
    status: int
    body: Any
    headers: Mapping[str, str]


@dataclass
class Receiving:
    directory: Path
    certificates: Certificates
    intake: FakeIntake
    metrics: Metrics
    alerts: AlertReceiver
    listener: Listener
    leads: bool = True
    now: float = NOW

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.listener.port}/alerts"

    async def post(
        self,
        body: object,
        headers: Mapping[str, str] | None = None,
        *,
        token: str | None = "one",
        certificate: KeyPair | None = None,
    ) -> Answer:
        """`body` is sent as it is if it is bytes, else as JSON."""
        sent = dict(headers or {})
        if token is not None:
            sent.setdefault("Authorization", f"Bearer {token}")
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                self.url,
                data=io.BytesIO(data),
                headers=sent,
                ssl=self.certificates.client_context(certificate),
            ) as answer,
        ):
            return Answer(answer.status, json.loads(await answer.read() or b"null"), answer.headers)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which nothing has been said yet."""
        return await asyncio.open_connection(
            "127.0.0.1", self.listener.port, ssl=self.certificates.client_context()
        )

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def write_credentials(directory: Path, *credentials: dict[str, Any]) -> Path:
    """Without any: one by the tokens `one` and `two` of the file `tokens`, for the namespace chat."""
    file = directory / "credentials.yaml"
    if not credentials:
        (directory / "tokens").write_text("one\ntwo\n")
        chat = {"name": "chat", "namespaces": ["chat"], "tokenFile": str(directory / "tokens")}
        credentials = (chat,)
    file.write_text(yaml.safe_dump({"credentials": list(credentials)}))
    return file


@dataclass(frozen=True)
class Setup:
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    bounds: Bounds = Bounds()  # noqa: RUF009 - frozen
    alertmanager: AlertmanagerApi | None = None
    client_ca: Path | None = None


@asynccontextmanager
async def receiving(
    directory: Path, certificates: Certificates, *credentials: dict[str, Any], setup: Setup | None = None
) -> AsyncIterator[Receiving]:
    setup = setup or Setup()
    settings = Settings(
        tls_cert_file=certificates.server.certificate,
        tls_key_file=certificates.server.key,
        signal_credentials_file=write_credentials(directory, *credentials),
        signal_client_ca_file=setup.client_ca,
    )
    assert settings.signal_credentials_file is not None
    intake, metrics = FakeIntake(), Metrics()
    alerts = AlertReceiver(
        Credentials(settings.signal_credentials_file, certificates=setup.client_ca is not None),
        lambda: intake if under_test.leads else None,
        metrics,
        setup.alertmanager,
        setup.limits,
        clock=lambda: under_test.now,
    )
    listener = Listener(receiver(alerts=alerts.handle), tls(settings).context, setup.bounds)
    under_test = Receiving(directory, certificates, intake, metrics, alerts, listener)
    await listener.start("127.0.0.1", 0)
    try:
        yield under_test
    finally:
        await listener.stop()


def alert(name: str = "ToxicOutput", **changes: Any) -> dict[str, Any]:
    """As Alertmanager sends one that fires; `labels` are added to its own."""
    labels = {"alertname": name, "namespace": "chat", "deployment": "llm-chat"} | changes.pop("labels", {})
    return {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": "toxic answers"},
        "startsAt": "2026-03-01T12:00:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example.test/graph?g0.expr=toxic+%3E+0",
        "fingerprint": f"f-{name}",
        **changes,
    }


def notification(*alerts: Any, **changes: Any) -> dict[str, Any]:
    """As Alertmanager sends it."""
    return {
        "version": "4",
        "groupKey": '{}:{alertname="ToxicOutput"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "stanch",
        "groupLabels": {"alertname": "ToxicOutput"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example.test",
        "alerts": list(alerts) or [alert()],
        **changes,
    }
