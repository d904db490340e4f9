"""Probes that tell the truth, and a receiver that lets only the API server in."""

from __future__ import annotations

import io
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from stanch.observability.metrics import Metrics
from stanch.observability.server import MAX_BATCH_BYTES, Health, audit_events, probes, receiver
from stanch.observability.tokens import TokenFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web

    from stanch.observability.audit import Denied

Client = TestClient["web.Request", "web.Application"]

FAILURE = "validation.policy.admission.k8s.io/validation_failure"


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[Client]:
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_a_process_whose_loop_hangs_is_not_alive() -> None:
    now = 1000.0
    health = Health(lambda: "leading", clock=lambda: now)
    async with serving(probes(health, Metrics())) as client:
        assert (await client.get("/healthz")).status == 200
        now += 31
        hung = await client.get("/healthz")
        assert hung.status == 500
        assert "no heartbeat for 31 s" in await hung.text()
        health.beat()
        assert (await client.get("/healthz")).status == 200


async def test_readiness_says_as_what() -> None:
    standing: str | None = None
    async with serving(probes(Health(lambda: standing), Metrics())) as client:
        assert (await client.get("/readyz")).status == 503
        standing = "standby: other leads"
        ready = await client.get("/readyz")
        assert (ready.status, await ready.text()) == (200, "standby: other leads\n")


async def test_metrics_can_be_scraped() -> None:
    metrics = Metrics()
    metrics.watch_queue(lambda: 4.5, lambda: 3, lambda: True)
    metrics.count_error("Forbidden")
    async with serving(probes(Health(lambda: None), metrics)) as client:
        answer = await client.get("/metrics")
        text = await answer.text()
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "stanch_leader 1.0" in text
    assert "stanch_queue_oldest_seconds 4.5" in text
    assert "stanch_queue_depth 3.0" in text
    assert 'stanch_reconcile_errors_total{reason="Forbidden"} 1.0' in text
    for name in (
        "stanch_detection_to_contained_seconds",
        "stanch_step_effective_seconds",
        "stanch_contested_total",
        "stanch_api_requests_total",
        "stanch_api_calls_per_incident",
        "stanch_hold_proven",
    ):
        assert f"# TYPE {name} " in text


@dataclass
class Receiver:
    client: Client
    tokens: Path
    denials: list[Denied] = field(default_factory=list)
    leads: bool = True

    async def post(self, body: object, token: str = "one") -> int:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = await self.client.post("/audit", data=data, headers={"Authorization": f"Bearer {token}"})
        await answer.read()
        return answer.status


@pytest.fixture
async def audit(tmp_path: Path) -> AsyncIterator[Receiver]:
    tokens = tmp_path / "tokens"
    tokens.write_text("one\ntwo\n\n")
    denials: list[Denied] = []
    async with AsyncExitStack() as stack:
        handler = audit_events(TokenFile(tokens), denials.append, lambda: under_test.leads)
        client = await stack.enter_async_context(serving(receiver(audit=handler)))
        under_test = Receiver(client, tokens, denials)
        yield under_test


def event(audit_id: str = "a-1", **changes: Any) -> dict[str, Any]:
    return {
        "auditID": audit_id,
        "stage": "ResponseComplete",
        "verb": "patch",
        "user": {"username": "jane", "groups": ["sre"]},
        "objectRef": {
            "apiGroup": "apps",
            "resource": "deployments",
            "subresource": "scale",
            "namespace": "chat",
            "name": "llm",
        },
        "responseStatus": {"code": 403, "message": "denied"},
        "annotations": {
            FAILURE: json.dumps([{"message": "held by AIIncident toxic", "policy": "stanch-hold"}])
        },
        "stageTimestamp": "2026-03-01T12:00:00.000000Z",
        **changes,
    }


def batch(*events: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": list(events)}


async def test_a_denial_tells_who_tried_what(audit: Receiver) -> None:
    assert await audit.post(batch(event())) == 200
    (denied,) = audit.denials
    assert (denied.username, denied.verb, denied.message) == ("jane", "patch", "held by AIIncident toxic")
    assert (denied.group, denied.resource, denied.subresource) == ("apps", "deployments", "scale")
    assert (denied.namespace, denied.name) == ("chat", "llm")
    assert denied.at.isoformat() == "2026-03-01T12:00:00+00:00"


BYPASS = "env/X=held by AIIncident innocent ("


@pytest.mark.parametrize(
    ("message", "incident"),
    [
        ("held by AIIncident toxic (Critical, Bias) and 2 more at 0 replicas; to give it back: …", "toxic"),
        ("image/llm:2 is condemned by AIIncident toxic (High, Drift); deploy another version", "toxic"),
        (f"{BYPASS} is condemned by AIIncident toxic (High, Drift); deploy another version", "toxic"),
        ("it carries an image or a model version that an AIIncident of this namespace condemned", ""),
    ],
)
async def test_a_denial_tells_whose_hold_it_was(audit: Receiver, message: str, incident: str) -> None:
    annotations = {FAILURE: json.dumps([{"message": message, "policy": "stanch-hold"}])}
    await audit.post(batch(event(annotations=annotations)))
    assert [denied.incident for denied in audit.denials] == [incident]


async def test_the_status_alone_tells_it_too(audit: Receiver) -> None:
    said = (
        "deployments.apps \"llm\" is forbidden: ValidatingAdmissionPolicy 'stanch-hold' denied request: held"
    )
    status = {"code": 403, "message": said}
    assert await audit.post(batch(event(annotations={}, responseStatus=status))) == 200
    assert [denied.message for denied in audit.denials] == [said]


@pytest.mark.parametrize(
    "other",
    [
        event(stage="RequestReceived"),
        event(annotations={}),
        event(annotations={FAILURE: json.dumps([{"message": "no", "policy": "somebody-elses"}])}),
        event(annotations={FAILURE: "not json"}),
        event(annotations={}, responseStatus={"code": 200}),
        event(objectRef=None),
    ],
)
async def test_what_is_no_denial_of_ours_is_forgotten(audit: Receiver, other: dict[str, Any]) -> None:
    assert await audit.post(batch(other)) == 200
    assert audit.denials == []


async def test_an_event_sent_twice_counts_once(audit: Receiver) -> None:
    await audit.post(batch(event("a"), event("b"), event("a")))
    await audit.post(batch(event("b"), event("c")))
    assert [denied.audit_id for denied in audit.denials] == ["a", "b", "c"]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer three", "Basic one", "one"])
async def test_nobody_gets_in_without_a_token(audit: Receiver, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = await audit.client.post("/audit", json=batch(event()), headers=headers)
    assert answer.status == 401
    assert audit.denials == []


async def test_a_token_is_rotated_without_a_gap(audit: Receiver) -> None:
    assert [await audit.post(batch(), token) for token in ("one", "two", "three")] == [200, 200, 401]
    audit.tokens.write_text("two\nthree, longer\n")
    assert [await audit.post(batch(), token) for token in ("one", "two", "three, longer")] == [401, 200, 200]


async def test_without_a_token_file_nobody_is_let_in(audit: Receiver) -> None:
    assert await audit.post(batch()) == 200
    audit.tokens.unlink()
    assert await audit.post(batch()) == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        {"kind": "Pod"},
        {"kind": "EventList", "apiVersion": "audit.k8s.io/v2", "items": []},
        {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [{"auditID": ""}]},
    ],
)
async def test_what_is_no_audit_batch_is_refused(audit: Receiver, body: object) -> None:
    assert await audit.post(body) == 400


async def test_a_body_beyond_all_measure_is_refused(audit: Receiver) -> None:
    body = io.BytesIO(b" " * (MAX_BATCH_BYTES + 1))
    answer = await audit.client.post("/audit", data=body, headers={"Authorization": "Bearer one"})
    assert answer.status == 413


async def test_a_standby_sends_the_api_server_to_the_leader(audit: Receiver) -> None:
    audit.leads = False
    assert await audit.post(batch(event())) == 503
    audit.leads = True
    assert await audit.post(batch(event())) == 200
    assert len(audit.denials) == 1


async def test_a_long_message_is_cut(audit: Receiver) -> None:
    annotation = json.dumps([{"message": "x" * 100_000, "policy": "stanch-hold"}])
    await audit.post(batch(event(annotations={FAILURE: annotation})))
    assert len(audit.denials[0].message) == 1024
