"""The poller with a real Prometheus: a metric that crosses, an alert that fires, and Prometheus killed."""

from __future__ import annotations

import asyncio
import json
import queue
import ssl
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast

import pytest

from sandbox.pki import Authority
from stanch.api.v1alpha1.policy import TriggerState
from stanch.kube.resources import CONTAINMENTPOLICIES, ObjectRef
from stanch.prometheus.client import PromClient
from stanch.prometheus.firing import FIRING
from stanch.prometheus.samples import QueryFailed, Reason
from stanch.signals.board import Board
from stanch.signals.model import TriggerRef
from stanch.signals.prometheus.alerts import ACTIVE, NONE, Alerts, evaluate, fingerprint
from stanch.signals.prometheus.poller import Poller
from stanch.signals.prometheus.triggers import Moment
from tests.prometheus import Monitoring, Route, monitoring
from tests.unit.policies.made import own
from tests.unit.signals.fake_ends import FakeIntake, FakeKube

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from stanch.signals.model import Signal

GUARD = ObjectRef(CONTAINMENTPOLICIES, "chat", "guard")
PATIENCE = 60.0
LLM = {"namespace": "chat", "deployment": "llm"}

RULES = [
    {
        "alert": "Toxic",
        "expr": "toxic_share > 0.5",
        "for": "1s",
        "labels": {"severity": "critical"},
    }
]
TRIGGERS: list[dict[str, Any]] = [
    {
        "name": "drift",
        "category": "Drift",
        "severity": "Medium",
        "metrics": ["model_drift"],
        "prometheus": {"query": "model_drift", "operator": "gt", "value": "0.2", "for": "2s"},
    },
    {
        "name": "share",
        "category": "Drift",
        "severity": "Low",
        "prometheus": {"query": "errors_seen / requests_seen", "operator": "gt", "value": "0.1"},
    },
    {
        "name": "typo",
        "category": "Drift",
        "severity": "Low",
        "prometheus": {"query": "rate(model_drift", "operator": "gt", "value": "0"},
    },
    {
        "name": "nowhere",
        "category": "Drift",
        "severity": "Low",
        "metrics": ["no_such_metric"],
        "prometheus": {"query": "sum(no_such_metric) or vector(0)", "operator": "lt", "value": "1"},
    },
    {
        "name": "toxic",
        "category": "OutputPolicyViolation",
        "severity": "Critical",
        "alert": {"matchers": ['alertname="Toxic"']},
    },
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitoring]:
    with monitoring(tmp_path_factory.mktemp("monitoring"), rules=RULES) as found:
        yield found


@pytest.fixture
def watched(stack: Monitoring) -> Monitoring:
    """All is well, and Prometheus knows."""
    stack.exporter.set("model_drift", 0.1, **LLM)
    stack.exporter.set("toxic_share", 0.0, **LLM)
    stack.exporter.set("errors_seen", 0, **LLM)
    stack.exporter.set("requests_seen", 0, **LLM)
    stack.until("model_drift == 0.1 and toxic_share == 0 and requests_seen == 0")
    stack.until("absent(ALERTS)")
    return stack


@dataclass
class Running:
    intake: FakeIntake
    board: Board

    def told_of(self) -> list[Signal]:
        return [one for _, signals in self.intake.batches for one in signals]

    def signals(self, name: str) -> list[Signal]:
        return [one for one in self.told_of() if one.name == name]

    def stands(self, trigger: str) -> tuple[TriggerState | None, str]:
        news = self.board.of(GUARD).get(trigger)
        return (news.state, news.message) if news else (None, "")

    async def until(self, look: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not look():
            assert time.monotonic() < deadline, f"{self.board.of(GUARD)}, {self.intake.batches}"
            await asyncio.sleep(0.05)

    async def until_stands(self, trigger: str, state: TriggerState, words: str) -> None:
        def look() -> bool:
            found, message = self.stands(trigger)
            return found is state and words in message

        await self.until(look)


@pytest.fixture
async def running(watched: Monitoring) -> AsyncIterator[Running]:
    """The poller, a round a second."""
    found = Running(FakeIntake(), Board(lambda _: None))
    poller = Poller(
        cast("Any", FakeKube([own("guard", triggers=TRIGGERS)])),
        found.intake,
        found.board,
        PromClient(watched.url, None, None, 2.0),
        every=1.0,
        within=4.0,
    )
    polling = asyncio.create_task(poller.run())
    yield found
    polling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await polling


async def test_a_metric_that_crosses_and_comes_back(running: Running, watched: Monitoring) -> None:
    await running.until_stands("drift", TriggerState.ACTIVE, "not firing: no series is > 0.2")
    watched.exporter.set("model_drift", 0.7, **LLM)
    await running.until(lambda: bool(running.signals("drift")))
    (signal,) = running.signals("drift")
    assert signal.firing
    assert (signal.value, signal.trigger) == ("0.7", TriggerRef(GUARD, "drift"))
    assert signal.labels.items() >= (LLM | {"job": "model-servers", "__name__": "model_drift"}).items()
    assert datetime.now(UTC) - signal.starts_at >= timedelta(seconds=2)
    assert running.stands("drift")[1].startswith("firing for 1 series, the first since ")
    watched.exporter.set("model_drift", 0.1, **LLM)
    await running.until(lambda: [one.firing for one in running.signals("drift")] == [True, False])


async def test_an_alert_that_prometheus_says_is_firing(running: Running, watched: Monitoring) -> None:
    await running.until_stands("toxic", TriggerState.ACTIVE, "an alert Toxic neither fires nor is pending")
    began = datetime.now(UTC)
    watched.exporter.set("toxic_share", 0.9, **LLM)
    await running.until(lambda: bool(running.signals("Toxic")))
    (signal,) = running.signals("Toxic")
    assert signal.firing
    assert signal.labels.items() >= (LLM | {"alertname": "Toxic", "severity": "critical"}).items()
    assert not {"__name__", "alertstate"} & signal.labels.keys()
    assert signal.fingerprint == fingerprint(signal.labels)
    assert began - timedelta(seconds=1) <= signal.starts_at <= datetime.now(UTC)
    assert running.stands("toxic")[1] == "an alert Toxic is firing in Prometheus"
    watched.exporter.set("toxic_share", 0.0, **LLM)
    await running.until(lambda: [one.firing for one in running.signals("Toxic")] == [True, False])


async def test_every_trigger_says_how_it_stands(running: Running) -> None:
    await running.until_stands("share", TriggerState.ERROR, "NaN, such as 0/0")
    await running.until_stands("typo", TriggerState.ERROR, "BadQuery: Prometheus refuses the query, HTTP 400")
    await running.until_stands("nowhere", TriggerState.INACTIVE, "no series for no_such_metric")
    assert running.intake.batches == []


@pytest.mark.long
async def test_prometheus_is_killed_and_comes_back(running: Running, watched: Monitoring) -> None:
    watched.exporter.set("model_drift", 0.7, **LLM)
    watched.exporter.set("toxic_share", 0.9, **LLM)
    await running.until(lambda: bool(running.signals("drift") and running.signals("Toxic")))
    before = [(one.name, one.fingerprint, one.starts_at) for one in running.told_of()]
    watched.prometheus.kill()
    for trigger in ("drift", "toxic"):
        await running.until_stands(trigger, TriggerState.ERROR, "Unreachable: Prometheus cannot be reached")
    # What happened meanwhile is not known: a recovery that nobody saw is not told of.
    watched.exporter.set("model_drift", 0.8, **LLM)
    await asyncio.sleep(3)
    assert [(one.name, one.fingerprint, one.starts_at) for one in running.told_of()] == before
    watched.prometheus.start()
    for trigger in ("drift", "toxic"):
        await running.until_stands(trigger, TriggerState.ACTIVE, "firing")
    await asyncio.sleep(3)
    assert all(one.firing for one in running.told_of())
    assert {(one.name, one.fingerprint, one.starts_at) for one in running.told_of()} == set(before)


async def test_series_that_vanish_are_resolved_and_said_to_be_absent(
    running: Running, watched: Monitoring
) -> None:
    watched.exporter.set("model_drift", 0.7, **LLM)
    await running.until(lambda: bool(running.signals("drift")))
    watched.exporter.remove("model_drift", **LLM)
    await running.until_stands("drift", TriggerState.INACTIVE, "no series for model_drift")
    assert [one.firing for one in running.signals("drift")] == [True, False]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("up[1m]", Reason.BAD_QUERY),
        ('"text"', Reason.BAD_QUERY),
        ("up{", Reason.BAD_QUERY),
        ("up / ignoring(x) group_left() up", None),
        ("vector(1)", None),
        ("scalar(up)", None),
        ("up == 7", None),
        ('{job="model-servers"} * on (job) up', Reason.BAD_QUERY),
    ],
)
async def test_what_can_be_asked(watched: Monitoring, query: str, reason: Reason | None) -> None:
    asking = PromClient(watched.url, None, None, 5.0)
    try:
        await asking.query(query)
    except QueryFailed as failed:
        assert failed.reason == reason  # noqa: PT017 - some succeed
    else:
        assert reason is None


async def test_an_address_that_is_not_quite_prometheus(watched: Monitoring) -> None:
    with pytest.raises(QueryFailed) as failed:
        await PromClient(f"{watched.url}/graph", None, None, 5.0).query("up")
    assert failed.value.reason == Reason.NOT_PROMETHEUS


@dataclass
class Receiver:
    """What a webhook got: the Authorization header and the body of each delivery."""

    url: str
    got: queue.Queue[tuple[str | None, Any]]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    authority = Authority.at(tmp_path / "pki", "test")
    pair = authority.server("receiver", [], ["127.0.0.1"])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.certificate, pair.key)
    got: queue.Queue[tuple[str | None, Any]] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.put((self.headers["Authorization"], json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """What came is in the queue."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Receiver(f"https://127.0.0.1:{server.server_port}/alerts", got)
        server.shutdown()
        thread.join()


def test_an_alert_that_alertmanager_delivers_has_the_fingerprint_of_the_one_that_is_polled(
    receiver: Receiver, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("from-alertmanager")
    route = Route(receiver.url, token, tmp_path / "pki" / "ca.crt")
    with monitoring(tmp_path / "monitoring", rules=RULES, route=route) as found:
        found.exporter.set("toxic_share", 0.9, **LLM)
        authorization, body = receiver.got.get(timeout=PATIENCE)
        asking = PromClient(found.url, None, None, 5.0)
        polled = evaluate(NONE, asyncio.run(_alerts(asking)), Moment(datetime.now(UTC), 0.0)).signals
    assert authorization == "Bearer from-alertmanager"
    ((delivered,), (signal,)) = body["alerts"], polled
    assert (delivered["fingerprint"], delivered["labels"]) == (signal.fingerprint, signal.labels)


async def _alerts(asking: PromClient) -> Alerts:
    return Alerts(await asking.query(FIRING), await asking.query(ACTIVE))
