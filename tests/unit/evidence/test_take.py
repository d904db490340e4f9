"""What could not be read or stored is told; what could is sealed. No fault of others becomes an error."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiohttp import web

from stanch.evidence.collector import Collection, _redacted, collect
from stanch.evidence.model import MANIFEST
from stanch.evidence.reading import Limits
from stanch.evidence.store import Collection as Place
from stanch.evidence.store import Store, StoreUnavailable, open_store
from stanch.evidence.take import Collector, Taken, place_of
from stanch.evidence.verify import verify
from stanch.kube.resources import AIINCIDENTS, DEPLOYMENTS, ObjectRef
from tests.unit.kube.fake_api_server import client_of, fake_api_server

if TYPE_CHECKING:
    from pathlib import Path

    from stanch.kube.client import Kube

Json = dict[str, Any]
LEAK = ObjectRef(AIINCIDENTS, "chat", "leak")
LLM = ObjectRef(DEPLOYMENTS, "chat", "llm")
KEY = "Zq7planted1key9vW"


def meta(name: str, **more: Any) -> Json:
    return {"name": name, "namespace": "chat", "uid": f"uid-{name}", "resourceVersion": "7", **more}


def pod(name: str) -> Json:
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": "llm-1",
        "uid": "uid-llm-1",
        "controller": True,
    }
    return {
        "metadata": meta(name, ownerReferences=[owner], labels={"app": "llm"}),
        "spec": {"containers": [{"name": "vllm", "env": [{"name": "API_KEY", "value": KEY}]}]},
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": "vllm", "restartCount": 1, "state": {"running": {}}}],
        },
    }


OBJECTS: dict[str, Json] = {
    "/apis/stanch.dev/v1alpha1/namespaces/chat/aiincidents/leak": {
        "kind": "AIIncident",
        "metadata": meta("leak"),
    },
    "/apis/apps/v1/namespaces/chat/deployments/llm": {
        "kind": "Deployment",
        "metadata": meta("llm"),
        "spec": {
            "selector": {"matchLabels": {"app": "llm"}},
            "template": {"metadata": {"labels": {"app": "llm"}}},
        },
    },
    "/apis/apps/v1/namespaces/chat/replicasets": {
        "items": [
            {
                "metadata": meta(
                    "llm-1",
                    ownerReferences=[
                        {"kind": "Deployment", "name": "llm", "uid": "uid-llm", "controller": True}
                    ],
                )
            }
        ]
    },
    "/api/v1/namespaces/chat/pods": {"items": [pod("llm-1-b"), pod("llm-1-a")]},
    "/api/v1/namespaces/chat/serviceaccounts/default": {
        "kind": "ServiceAccount",
        "metadata": meta("default"),
    },
}
Respond = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


async def as_usual(_request: web.Request) -> web.StreamResponse | None:
    return None


@asynccontextmanager
async def cluster(respond: Respond = as_usual) -> AsyncIterator[Kube]:
    """A workload of two pods whose containers were restarted; `respond` may answer differently."""

    async def answer(request: web.Request) -> web.StreamResponse:
        special = await respond(request)
        if special is not None:
            return special
        if request.path.endswith("/log"):
            instance = "old" if request.query["previous"] == "true" else "new"
            return web.Response(text=f"{instance} log of {request.path.split('/')[-2]}, key {KEY}\n")
        found = OBJECTS.get(request.path, {"items": []})
        version = "apps/v1" if "apps/v1" in request.path else "v1"
        return web.json_response({"apiVersion": version, **found})

    async with fake_api_server() as server, client_of(server) as kube:
        server.answers = [answer] * 1000
        yield kube


async def collected(kube: Kube, *, seconds: float = 10, **limits: Any) -> Collection:
    return await collect(kube, LEAK, [LLM], Limits(**limits), seconds=seconds, now=clock())


def clock() -> Callable[[], datetime]:
    """One second later each time."""
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def now() -> datetime:
        nonlocal at
        at += timedelta(seconds=1)
        return at

    return now


def take(kube: Kube, store: Store, seconds: float = 10) -> Awaitable[Taken]:
    return Collector(kube, store, Limits(), "stanch-0", clock()).take(LEAK, "81d2e", [LLM], seconds=seconds)


def logs(collection: Collection) -> dict[tuple[str | None, str | None], str]:
    return {
        (item.source.name, item.source.instance): item.body.decode()
        for item in collection.items
        if item.kind == "log"
    }


async def test_the_logs_of_both_instances_are_kept_without_the_key_that_the_manifest_gives_away() -> None:
    async with cluster() as kube:
        found = await collected(kube)
    gone = f"key [redacted, {len(KEY)} characters]\n"
    assert logs(found) == {
        ("llm-1-a", "current"): f"new log of llm-1-a, {gone}",
        ("llm-1-a", "previous"): f"old log of llm-1-a, {gone}",
        ("llm-1-b", "current"): f"new log of llm-1-b, {gone}",
        ("llm-1-b", "previous"): f"old log of llm-1-b, {gone}",
    }
    assert found.incomplete == ()
    assert not any(KEY.encode() in item.body for item in found.items)


async def test_a_log_that_never_comes_costs_its_own_time_only() -> None:
    async def respond(request: web.Request) -> web.StreamResponse | None:
        if request.path.endswith("llm-1-a/log"):
            await asyncio.sleep(30)
        return None

    async with cluster(respond) as kube:
        started = asyncio.get_running_loop().time()
        found = await collected(kube, request_seconds=0.3)
        took = asyncio.get_running_loop().time() - started
    assert took < 3
    assert {name for name, _ in logs(found)} == {"llm-1-b"}
    assert {(each.reason, each.message) for each in found.incomplete} == {
        ("Timeout", "no answer within 0.3 s")
    }
    assert all("llm-1-a vllm" in each.what for each in found.incomplete)


async def test_an_api_server_that_hangs_costs_no_more_than_the_time_for_all() -> None:
    async def respond(request: web.Request) -> web.StreamResponse | None:
        if "aiincidents" not in request.path:
            await asyncio.sleep(30)
        return None

    async with cluster(respond) as kube:
        started = asyncio.get_running_loop().time()
        found = await collected(kube, seconds=1)
        took = asyncio.get_running_loop().time() - started
    assert took < 2
    assert [item.kind for item in found.items] == ["aiincident"]
    assert "Deployment chat/llm" in {each.what for each in found.incomplete if each.reason == "Timeout"}


async def test_what_there_is_no_time_to_take_credentials_out_of_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slow(*arguments: Any) -> Any:
        time.sleep(0.3)
        return _redacted(*arguments)

    monkeypatch.setattr("stanch.evidence.collector._redacted", slow)
    async with cluster() as kube:
        found = await collected(kube, seconds=1)
    assert 0 < len(found.items) < 8
    late = [each for each in found.incomplete if "no time to take credentials out" in each.message]
    assert {each.reason for each in late} == {"Timeout"}
    assert any(each.what.startswith("log of Pod chat/llm-1-a") for each in late)


async def test_pods_are_kept_when_their_replica_sets_could_not_be_read() -> None:
    """Then nobody can say which events are theirs, so all are kept."""
    event = {"metadata": meta("e"), "involvedObject": {"uid": "of-somebody"}}

    async def respond(request: web.Request) -> web.StreamResponse | None:
        if request.path.endswith("/replicasets"):
            return web.json_response({"kind": "Status", "message": "no", "code": 403}, status=403)
        return web.json_response({"items": [event]}) if request.path.endswith("/events") else None

    async with cluster(respond) as kube:
        found = await collected(kube)
    assert [item.source.name for item in found.items if item.kind == "pod"] == ["llm-1-a", "llm-1-b"]
    (events,) = [item for item in found.items if item.kind == "events"]
    assert b"of-somebody" in events.body


async def test_events_of_others_are_left_out_and_the_newest_kept() -> None:
    about = {"uid": "uid-llm-1-a"}
    events = [
        {"metadata": meta("others"), "involvedObject": {"uid": "of-somebody"}},
        {"metadata": meta("a"), "involvedObject": about, "lastTimestamp": "2026-01-02T03:00:00Z"},
        {"metadata": meta("b"), "involvedObject": about, "eventTime": "2026-01-02T03:00:09.000001Z"},
        {"metadata": meta("c"), "involvedObject": about, "lastTimestamp": "2026-01-02T03:00:01Z"},
    ]

    async def respond(request: web.Request) -> web.StreamResponse | None:
        return web.json_response({"items": events}) if request.path.endswith("/events") else None

    async with cluster(respond) as kube:
        found = await collected(kube, events=2)
    (item,) = [item for item in found.items if item.kind == "events"]
    assert [event["metadata"]["name"] for event in json.loads(item.body)["items"]] == ["b", "c"]
    assert [each.message for each in found.incomplete] == ["the newest 2 of 3 are kept"]


@pytest.mark.parametrize("code", [403, 404, 429, 500, 503])
async def test_whatever_the_api_server_refuses_is_told(code: int) -> None:
    async def respond(_request: web.Request) -> web.StreamResponse | None:
        status = {"kind": "Status", "message": f"refused with {code}", "code": code, "reason": "Because"}
        return web.json_response(status, status=code)

    async with cluster(respond) as kube:
        found = await collected(kube)
    assert found.items == ()
    assert all(f"refused with {code}" in each.message for each in found.incomplete)


async def test_objects_that_are_not_as_documented_are_told_and_the_rest_kept() -> None:
    odd: dict[str, Json] = {
        "/api/v1/namespaces/chat/pods": {"items": [pod("llm-1-a") | {"spec": {"containers": "many"}}]},
        "/apis/policy/v1/namespaces/chat/poddisruptionbudgets": {
            "items": [{"metadata": meta("odd"), "spec": {"selector": {"matchSomething": {}}}}]
        },
    }

    async def respond(request: web.Request) -> web.StreamResponse | None:
        return web.json_response(odd[request.path]) if request.path in odd else None

    async with cluster(respond) as kube:
        found = await collected(kube)
    told = {each.what: each.reason for each in found.incomplete}
    assert told == {"Pod llm-1-a": "NotUnderstood", "PodDisruptionBudgets": "NotUnderstood"}
    assert "pod" in {item.kind for item in found.items}


# Stored


@dataclass
class FailingPlace:
    place: Place
    fails: re.Pattern[str]
    seconds: float

    @property
    def location(self) -> str:
        return self.place.location

    async def put(self, key: str, body: bytes) -> None:
        if self.fails.search(key):
            await asyncio.sleep(self.seconds)
            raise StoreUnavailable("EvidenceStoreUnavailable", f"{key}: not stored", 5.0)
        await self.place.put(key, body)


@dataclass
class Failing:
    """A store that does not take some of the items, after a while."""

    store: Store
    fails: str
    seconds: float = 0.0

    def below(self, key: str) -> FailingPlace:
        return FailingPlace(self.store.below(key), re.compile(self.fails), self.seconds)


@pytest.mark.parametrize("fails", ["^000-", "^003-", "^(000|004|005)-", "log"])
@pytest.mark.parametrize("seconds", [0.0, 60.0])
async def test_items_that_the_store_did_not_take_are_told_and_the_others_sealed(
    tmp_path: Path, fails: str, seconds: float
) -> None:
    store = open_store(f"file://{tmp_path}")
    async with cluster() as kube:
        taken = await take(kube, cast("Store", Failing(store, fails, seconds)), seconds=3)
    assert taken.record is not None
    assert taken.reason == "EvidenceIncomplete"
    place = open_store(taken.record.location).below("")
    verdict = await verify(place, taken.record.head, items=taken.record.items)
    assert verdict.intact
    assert verdict.manifest is not None
    lost = verdict.manifest.header.incomplete
    assert len(lost) == len(verdict.manifest.header.skipped) > 0
    assert {each.reason for each in lost} == {"NotStored"}


async def test_without_its_manifest_nothing_was_taken(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}")
    async with cluster() as kube:
        taken = await take(kube, cast("Store", Failing(store, MANIFEST)))
    assert (taken.record, taken.reason) == (None, "EvidenceNotStored")
    assert f"no evidence was stored at file://{tmp_path}/chat/leak-81d2e/2026" in taken.message


async def test_complete_evidence_is_said_to_be(tmp_path: Path) -> None:
    async with cluster() as kube:
        taken = await take(kube, open_store(f"file://{tmp_path}"))
    assert taken.record is not None
    assert (taken.reason, taken.record.complete, taken.record.missing) == ("EvidenceCollected", True, ())
    assert taken.message.startswith(f"{taken.record.items} items, {taken.record.size} bytes at file://")


def test_the_longest_name_has_a_directory_that_file_systems_take() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    uid = "7d1b1f0e-37ab-4a6e-9a52-4f1a9d5c8f11"
    parts = place_of(ObjectRef(AIINCIDENTS, "chat", "x" * 253), uid, at).split("/")
    assert parts[0] == "chat"
    assert parts[1].endswith(uid)
    assert re.fullmatch(r"20260102T030405Z-[0-9a-f]{6}", parts[2])
    assert all(len(part) <= 255 for part in parts)
