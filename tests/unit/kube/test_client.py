from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from stanch import __version__
from stanch.errors import Conflict, FenceLost, Gone, Unavailable
from stanch.kube.client import Kube
from stanch.kube.resources import (
    AIINCIDENTS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    SECRETS,
    SERVICEACCOUNTS,
    ObjectRef,
    Resource,
)
from stanch.kube.transport import CallCount, Observed, Transport, agent_of, calls_so_far, count_calls
from tests.unit.kube.fake_api_server import FakeApiServer, FakeCredentials, client_of, fake_api_server

LLM = ObjectRef(DEPLOYMENTS, "chat", "llm")
INCIDENT = ObjectRef(AIINCIDENTS, "chat", "toxic")

Write = Callable[[Kube], Awaitable[object]]

WRITES: dict[str, Write] = {
    "create": lambda kube: kube.create(PODS, "chat", {"metadata": {"name": "p"}}),
    "replace": lambda kube: kube.replace(LLM, {"metadata": {"resourceVersion": "1"}}),
    "replace_status": lambda kube: kube.replace_status(INCIDENT, {"metadata": {"resourceVersion": "1"}}),
    "json_patch": lambda kube: kube.json_patch(LLM, [], resource_version="1"),
    "delete": lambda kube: kube.delete(LLM),
}


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with fake_api_server() as server:
        yield server


@pytest.fixture
async def kube(server: FakeApiServer) -> AsyncIterator[Kube]:
    async with client_of(server) as kube:
        yield kube


async def test_a_patch_carries_the_version_it_was_decided_on(server: FakeApiServer, kube: Kube) -> None:
    await kube.json_patch(
        LLM, [{"op": "replace", "path": "/spec/replicas", "value": 0}], resource_version="42"
    )
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("PATCH", "/apis/apps/v1/namespaces/chat/deployments/llm")
    assert asked.body == [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "42"},
        {"op": "replace", "path": "/spec/replicas", "value": 0},
    ]
    assert asked.headers["Content-Type"] == "application/json-patch+json"
    assert asked.query == {"fieldManager": "stanch"}


@pytest.mark.parametrize("name", ["replace", "replace_status", "json_patch"])
async def test_an_update_of_no_known_version_is_never_sent(
    server: FakeApiServer, kube: Kube, name: str
) -> None:
    unversioned: dict[str, Write] = {
        "replace": lambda kube: kube.replace(LLM, {"metadata": {}}),
        "replace_status": lambda kube: kube.replace_status(INCIDENT, {}),
        "json_patch": lambda kube: kube.json_patch(LLM, [], resource_version=""),
    }
    with pytest.raises(ValueError, match="resourceVersion"):
        await unversioned[name](kube)
    assert server.asked == []


@pytest.mark.parametrize("name", WRITES)
async def test_no_write_leaves_a_process_that_may_have_lost_the_lease(
    server: FakeApiServer, kube: Kube, name: str
) -> None:
    def lost() -> float:
        raise FenceLost("lost")

    with pytest.raises(FenceLost):
        await WRITES[name](kube.fenced(lost))
    assert server.asked == []
    await WRITES[name](kube)
    assert len(server.asked) == 1


async def test_reads_and_dry_runs_need_no_lease(server: FakeApiServer, kube: Kube) -> None:
    def lost() -> float:
        raise FenceLost("lost")

    fenced = kube.fenced(lost)
    await fenced.get(LLM)
    await fenced.list(PODS)
    await fenced.create(PODS, "chat", {}, dry_run=True)
    await fenced.json_patch(LLM, [], resource_version="1", dry_run=True)
    await fenced.delete(LLM, dry_run=True)
    assert len(server.asked) == 5


async def test_the_lease_is_asked_again_before_a_second_attempt(server: FakeApiServer, kube: Kube) -> None:
    answers = iter([True, False])

    def fence() -> float:
        if not next(answers):
            raise FenceLost("lost between the two attempts")
        return 60

    server.will_answer(401)
    with pytest.raises(FenceLost):
        await kube.fenced(fence).delete(LLM)
    assert len(server.asked) == 1


async def test_a_write_that_gets_no_answer_is_given_up_when_the_lease_may_be_over(
    server: FakeApiServer, kube: Kube
) -> None:
    async def hang(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3)
        return web.json_response({})

    server.answers.append(hang)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="no answer in time"):
        await kube.fenced(lambda: 0.2).delete(LLM)
    assert time.monotonic() - began < 3


async def test_a_dry_run_is_one_in_the_query_and_for_a_delete_in_the_body(
    server: FakeApiServer, kube: Kube
) -> None:
    await kube.create(PODS, "chat", {}, dry_run=True)
    await kube.json_patch(LLM, [], resource_version="1", dry_run=True, subresource="scale")
    await kube.delete(LLM, uid="u-1", resource_version="7", grace_period_seconds=0, dry_run=True)
    create, patch, delete = server.asked
    assert create.query["dryRun"] == patch.query["dryRun"] == "All"
    assert patch.path.endswith("/deployments/llm/scale")
    assert delete.body["dryRun"] == ["All"]
    assert delete.body["preconditions"] == {"uid": "u-1", "resourceVersion": "7"}
    assert delete.body["gracePeriodSeconds"] == 0


async def test_a_journal_field_that_an_older_crd_would_drop_is_refused_by_the_server(
    server: FakeApiServer, kube: Kube
) -> None:
    await kube.replace_status(INCIDENT, {"metadata": {"resourceVersion": "1"}})
    await kube.create(PODS, "chat", {})
    ours, other = server.asked
    assert ours.query["fieldValidation"] == "Strict"
    assert "fieldValidation" not in other.query


async def test_deleting_what_is_gone_is_done(server: FakeApiServer, kube: Kube) -> None:
    server.will_answer(404, {"kind": "Status", "reason": "NotFound", "details": {"name": "llm"}})
    await kube.delete(LLM)


async def test_a_long_list_is_read_page_by_page(server: FakeApiServer, kube: Kube) -> None:
    server.will_answer(200, {"metadata": {"continue": "a+/=b"}, "items": [{"metadata": {"name": "one"}}]})
    server.will_answer(200, {"metadata": {}, "items": [{"metadata": {"name": "two"}}]})
    pods = await kube.list(PODS, "chat", label_selector="app in (a,b)", page=1)
    assert [pod["metadata"]["name"] for pod in pods] == ["one", "two"]
    assert {(pod["apiVersion"], pod["kind"]) for pod in pods} == {("v1", "Pod")}
    first, second = server.asked
    assert first.query == {"limit": "1", "labelSelector": "app in (a,b)"}
    assert second.query == {"limit": "1", "labelSelector": "app in (a,b)", "continue": "a+/=b"}


async def test_a_list_of_metadata_asks_for_nothing_else(server: FakeApiServer, kube: Kube) -> None:
    for name, token in (("a", "next"), ("b", "")):
        item = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": name}}
        server.will_answer(200, {"metadata": {"continue": token}, "items": [item]})

    listed = await kube.list(SECRETS, "chat", metadata_only=True)

    assert listed == [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}} for name in "ab"]
    expected = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    assert [asked.headers["Accept"] for asked in server.asked] == [expected, expected]


async def test_a_list_that_expires_between_two_pages_starts_over(server: FakeApiServer, kube: Kube) -> None:
    server.will_answer(200, {"metadata": {"continue": "x"}, "items": [{"metadata": {"name": "stale"}}]})
    server.will_answer(410, {"kind": "Status", "reason": "Expired"})
    server.will_answer(200, {"metadata": {}, "items": [{"metadata": {"name": "fresh"}}]})
    pods = await kube.list(PODS)
    assert [pod["metadata"]["name"] for pod in pods] == ["fresh"]


async def test_a_list_that_always_expires_is_given_up(server: FakeApiServer, kube: Kube) -> None:
    for _ in range(3):
        server.will_answer(410, {"kind": "Status", "reason": "Expired"})
    with pytest.raises(Unavailable, match="expired 3 times"):
        await kube.list(PODS)
    server.will_answer(410, {"kind": "Status", "reason": "Expired"})
    with pytest.raises(Gone):
        await kube.get(LLM)


async def test_a_refused_token_is_read_again_once(server: FakeApiServer) -> None:
    credentials = FakeCredentials(server.url, ["expired", "rotated"])
    async with client_of(server, credentials=credentials) as kube:
        await kube.get(LLM)
        kube.transport._loaded_at -= 60  # the pause between two reloads is over
        server.will_answer(401)
        await kube.get(LLM)
    assert [asked.headers["Authorization"] for asked in server.asked] == [
        "Bearer expired",
        "Bearer expired",
        "Bearer rotated",
    ]


async def test_a_token_refused_twice_may_still_be_repaired_later(server: FakeApiServer, kube: Kube) -> None:
    server.will_answer(401)
    server.will_answer(401)
    with pytest.raises(Unavailable) as caught:
        await kube.get(LLM)
    assert caught.value.reason == "Unauthorized"


async def test_a_credential_plugin_that_yields_nothing_never_makes_us_anonymous(
    server: FakeApiServer,
) -> None:
    credentials = FakeCredentials(server.url, ["good", ""])
    async with client_of(server, credentials=credentials) as kube:
        await kube.get(LLM)
        kube.transport._loaded_at -= 10_000
        with pytest.raises(Unavailable, match="yielded nothing"):
            await kube.get(LLM)
    assert len(server.asked) == 1


async def test_another_token_inherits_the_server_and_nothing_of_our_identity(
    server: FakeApiServer, kube: Kube
) -> None:
    other = await kube.with_token("theirs")
    try:
        await other.get(LLM)
    finally:
        await other.close()
    await kube.get(LLM)
    assert [asked.headers["Authorization"] for asked in server.asked] == ["Bearer theirs", "Bearer first"]


async def test_a_token_is_requested_for_a_service_account(server: FakeApiServer, kube: Kube) -> None:
    server.will_answer(201, {"status": {"token": "t0k3n"}})
    assert await kube.create_token("chat", "probe", expiration_seconds=600) == "t0k3n"
    (asked,) = server.asked
    assert asked.path == "/api/v1/namespaces/chat/serviceaccounts/probe/token"
    assert asked.body["spec"] == {"expirationSeconds": 600}


async def test_a_hung_server_costs_the_timeout_and_says_that_the_write_may_have_been_done(
    server: FakeApiServer,
) -> None:
    released = asyncio.Event()

    async def hang(_request: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.json_response({})

    server.answers.append(hang)
    async with client_of(server, request_timeout=0.2) as kube:
        with pytest.raises(Unavailable, match="it may have been done") as caught:
            await kube.json_patch(LLM, [], resource_version="1")
    released.set()
    assert caught.value.reason == "Timeout"


async def test_a_server_that_is_down_or_drops_the_connection_is_unavailable(
    server: FakeApiServer, kube: Kube
) -> None:
    async def drop(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.json_response({})

    server.answers.append(drop)
    with pytest.raises(Unavailable, match="patch Deployment chat/llm"):
        await kube.json_patch(LLM, [], resource_version="1")
    async with client_of(FakeApiServer(url="http://127.0.0.1:1")) as nowhere:
        with pytest.raises(Unavailable, match="get Deployment chat/llm"):
            await nowhere.get(LLM)


@pytest.mark.parametrize("body", [b"not json", b"[]"])
async def test_a_success_that_is_no_object_is_no_success(
    server: FakeApiServer, kube: Kube, body: bytes
) -> None:
    async def garble(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type="application/json")

    server.answers.append(garble)
    with pytest.raises(Unavailable) as caught:
        await kube.get(LLM)
    assert caught.value.reason == "BadAnswer"


async def test_every_request_is_counted_with_its_outcome(server: FakeApiServer, kube: Kube) -> None:
    seen: list[Observed] = []
    kube.transport.observe = seen.append
    server.will_answer(200)
    server.will_answer(409)
    with count_calls(CallCount()) as count:
        await kube.get(LLM)
        with pytest.raises(Conflict):
            await kube.json_patch(LLM, [], resource_version="1", subresource="scale")
        assert calls_so_far() == 2
    assert [(each.verb, each.resource, each.code) for each in seen] == [
        ("get", "apps/deployments", 200),
        ("patch", "apps/deployments/scale", 409),
    ]
    assert count.calls == 2
    assert calls_so_far() == 0


async def test_every_request_says_which_process_asks_whatever_its_token(server: FakeApiServer) -> None:
    location = FakeCredentials(server.url)
    kube = Kube(Transport(location, user_agent=agent_of("stanch-0_5f2c")))
    canary = await kube.with_token("another")
    await kube.get(LLM)
    await canary.get(LLM)
    await canary.close()
    await kube.close()
    assert [asked.headers["User-Agent"] for asked in server.asked] == [
        f"stanch/{__version__} (stanch-0_5f2c)"
    ] * 2


@pytest.mark.parametrize(
    ("resource", "namespace", "name"),
    [
        (DEPLOYMENTS, None, "llm"),
        (DEPLOYMENTS, "", "llm"),
        (DEPLOYMENTS, "chat", ""),
        (NAMESPACES, "x", "chat"),
    ],
)
def test_a_reference_can_never_address_a_whole_list(
    resource: Resource, namespace: str | None, name: str
) -> None:
    with pytest.raises(ValueError, match="incomplete reference"):
        ObjectRef(resource, namespace, name).path()


def test_a_name_cannot_climb_out_of_its_path() -> None:
    ref = ObjectRef(SERVICEACCOUNTS, "chat", "../../secrets/key?x=y")
    assert ref.path() == "/api/v1/namespaces/chat/serviceaccounts/..%2F..%2Fsecrets%2Fkey%3Fx%3Dy"
