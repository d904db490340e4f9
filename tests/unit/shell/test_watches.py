"""Kopf against an in-process fake of discovery, lists and watches: it must see all it should, or say so."""

from __future__ import annotations

import asyncio
import gc
import getpass
import json
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import kopf
import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from stanch.handlers.enqueue import Enqueue
from stanch.handlers.watches import STOP_SECONDS, WATCHED, Watches, kopf_settings, register
from stanch.kube.resources import NAMESPACES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from stanch.kube.resources import ObjectRef, Resource
    from stanch.queue import Key

PATIENCE = 60.0  # seconds
VERBS = ["get", "list", "watch", "patch"]


@dataclass
class FakeDiscovery:
    """`blind_scans`: how many times discovery tells of the groups, but of none of their resources."""

    url: str = ""
    blind_scans: int = 0
    scans: int = 0
    broken: frozenset[str] = frozenset()
    closes_watches: bool = False
    watches: int = 0
    lists: list[tuple[str, str]] = field(default_factory=list)

    async def load(self) -> Configuration:
        return Configuration(host=self.url)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.strip("/").split("/")
        if parts == ["api"]:
            return web.json_response({"versions": ["v1"]})
        if parts == ["apis"]:
            self.scans += 1
            groups = sorted({(each.group, each.version) for each in WATCHED if each.group})
            return web.json_response({"groups": [self.group(*each) for each in groups]})
        if parts[1:] == ["apiextensions.k8s.io", "v1"]:
            return web.json_response({"resources": []})
        if len(parts) <= 3 and parts[0] in {"api", "apis"} and not request.query:
            return web.json_response({"resources": self.resources("/".join(parts[1:]))})
        if request.query.get("watch"):
            return await self.watch(request, parts[-1])
        self.lists.append((parts[-1], request.query.get("labelSelector", "")))
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})

    def group(self, group: str, version: str) -> dict[str, Any]:
        served = {"groupVersion": f"{group}/{version}", "version": version}
        return {"name": group, "versions": [served], "preferredVersion": served}

    def resources(self, api_version: str) -> list[dict[str, Any]]:
        if self.scans <= self.blind_scans:
            return []
        return [
            {
                "name": each.plural,
                "singularName": "",
                "kind": each.kind,
                "namespaced": each.namespaced,
                "verbs": VERBS,
            }
            for each in (*WATCHED, NAMESPACES)
            if each.api_version == api_version
        ]

    async def watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        self.watches += 1
        if self.closes_watches:
            return web.Response(content_type="application/json")
        if plural in self.broken:
            return web.json_response({"kind": "Status"}, status=404)
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        metadata = {"name": plural, "uid": plural, "resourceVersion": "2"}
        metadata |= {} if plural.startswith("cluster") else {"namespace": "chat"}
        spec = (
            {"incidents": {"first": {"why": "Critical", "since": "2026-01-02T03:04:05Z"}}}
            if "hold" in plural
            else {}
        )
        event = {"type": "ADDED", "object": {"metadata": metadata, "spec": spec}}
        await answer.write(json.dumps(event).encode() + b"\n")
        await asyncio.sleep(60)
        return answer


@pytest.fixture
async def server() -> AsyncIterator[FakeDiscovery]:
    server = FakeDiscovery()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@asynccontextmanager
async def watching(server: FakeDiscovery) -> AsyncIterator[tuple[Watches, asyncio.Queue[str]]]:
    """The watches, and what they say of incidents and workloads."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def incident(key: Key) -> None:
        loop.call_soon_threadsafe(heard.put_nowait, str(key))

    def workload(resource: Resource, namespace: str, name: str) -> None:
        loop.call_soon_threadsafe(heard.put_nowait, f"{resource.key}/{namespace}/{name}")

    def policy(ref: ObjectRef) -> None:
        loop.call_soon_threadsafe(heard.put_nowait, str(ref))

    registry = kopf.OperatorRegistry()
    register(registry, server, Enqueue(incident, workload, policy))
    watches = Watches(registry, kopf_settings(request_timeout=5, connect_timeout=1))
    watches.start()
    try:
        yield watches, heard
    finally:
        await watches.stop()
        await asyncio.to_thread(watches._thread.join, 2 * STOP_SECONDS)


ALL = {
    "chat/aiincidents",
    "chat/first",
    "ContainmentPolicy chat/containmentpolicies",
    "ClusterContainmentPolicy clustercontainmentpolicies",
    "networking.k8s.io/networkpolicies/chat/networkpolicies",
    "apps/deployments/chat/deployments",
    "apps/statefulsets/chat/statefulsets",
    "apps/daemonsets/chat/daemonsets",
    "batch/cronjobs/chat/cronjobs",
    "batch/jobs/chat/jobs",
    "pods/chat/pods",
    "apps/replicasets/chat/replicasets",
}


async def test_whoever_it_runs_as_need_not_be_in_the_list_of_users(
    server: FakeDiscovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown() -> str:
        raise OSError("No username set in the environment")

    monkeypatch.setattr(getpass, "getuser", unknown)
    async with watching(server) as (_, heard), asyncio.timeout(PATIENCE):
        await heard.get()


async def test_every_kind_is_watched_and_workloads_by_label(server: FakeDiscovery) -> None:
    async with watching(server) as (watches, heard), asyncio.timeout(PATIENCE):
        assert {await heard.get() for _ in ALL} == ALL
        assert watches.running
    assert ("deployments", "stanch.dev/held=true") in server.lists
    assert ("aiincidents", "") in server.lists
    assert not watches.running
    assert watches.ended.result() is None


async def test_discovery_of_a_server_that_just_starts_is_not_believed(server: FakeDiscovery) -> None:
    server.blind_scans = 2
    async with watching(server) as (watches, heard), asyncio.timeout(PATIENCE):
        assert not watches.running
        assert {await heard.get() for _ in ALL} == ALL
        assert watches.running
    assert server.scans >= 3


async def test_a_server_that_closes_every_watch_is_not_flooded(server: FakeDiscovery) -> None:
    server.closes_watches = True
    async with watching(server):
        async with asyncio.timeout(PATIENCE):
            while server.watches < len(WATCHED):  # noqa: ASYNC110 - the server counts, nothing more
                await asyncio.sleep(0.05)
        before = server.watches
        await asyncio.sleep(4)
        assert server.watches - before <= 4 * len(WATCHED)


@pytest.fixture
def unlogged() -> Iterator[None]:
    """Kopf leaves its other watches' errors to the garbage collector, which logs them after the test."""
    logging.disable()
    yield
    gc.collect()
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("broken", [{each.plural for each in WATCHED}, {"aiincidents"}])
async def test_a_watch_that_fails_for_good_ends_the_watches_at_once_with_the_reason(
    server: FakeDiscovery, unlogged: None, broken: set[str]
) -> None:
    server.broken = frozenset(broken)
    async with watching(server) as (watches, _), asyncio.timeout(PATIENCE):
        with pytest.raises(RuntimeError, match=r"the watches ended: .*multitasker"):
            await asyncio.shield(watches.ended)
        assert not watches.running


async def test_watches_that_were_never_started_can_be_stopped() -> None:
    watches = Watches(kopf.OperatorRegistry(), kopf_settings(request_timeout=5, connect_timeout=1))
    async with asyncio.timeout(STOP_SECONDS):
        await watches.stop()
    assert not watches.running
