"""An operator that acts in some namespaces only sends nothing about another one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from stanch.errors import Forbidden, Unavailable
from stanch.kube.resources import (
    AIINCIDENTS,
    CLUSTERCONTAINMENTPOLICIES,
    DEPLOYMENTS,
    EVENTS,
    LEASES,
    NAMESPACES,
    PODS,
    ROLEBINDINGS,
    ObjectRef,
)
from stanch.kube.scope import Scope
from tests.unit.kube.fake_api_server import FakeApiServer, client_of, fake_api_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from stanch.kube.client import Kube

SCOPE = Scope(("chat", "search"), "stanch-system")
BANK = ObjectRef(DEPLOYMENTS, "bank", "llm")

REQUESTS: dict[str, Callable[[Kube], Awaitable[object]]] = {
    "get": lambda kube: kube.get(BANK),
    "list": lambda kube: kube.list(PODS, "bank"),
    "log": lambda kube: kube.log(
        ObjectRef(PODS, "bank", "p"), "c", previous=False, tail_lines=1, limit_bytes=1
    ),
    "create": lambda kube: kube.create(EVENTS, "default", {"metadata": {"name": "e"}}),
    "replace": lambda kube: kube.replace(BANK, {"metadata": {"resourceVersion": "1"}}),
    "replace_status": lambda kube: kube.replace_status(BANK, {"metadata": {"resourceVersion": "1"}}),
    "json_patch": lambda kube: kube.json_patch(BANK, [], resource_version="1"),
    "delete": lambda kube: kube.delete(BANK),
    "create_token": lambda kube: kube.create_token("bank", "llm", expiration_seconds=600),
    "get of the namespace": lambda kube: kube.get(ObjectRef(NAMESPACES, None, "bank")),
}


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with fake_api_server() as server:
        yield server


@pytest.fixture
async def kube(server: FakeApiServer) -> AsyncIterator[Kube]:
    async with client_of(server) as kube:
        yield replace(kube, scope=SCOPE)


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_what_is_about_another_namespace_is_not_sent(
    server: FakeApiServer, kube: Kube, request_: Callable[[Kube], Awaitable[object]]
) -> None:
    for one in (kube, kube.fenced(lambda: 10.0)):
        with pytest.raises(Forbidden, match=r"not one that this operator acts in.*chat,search") as caught:
            await request_(one)
        assert caught.value.reason == "NamespaceOutOfScope"
    assert server.asked == []


async def test_a_stranger_of_the_canary_is_limited_as_well(server: FakeApiServer, kube: Kube) -> None:
    stranger = await kube.with_token("other")
    with pytest.raises(Forbidden):
        await stranger.get(BANK)
    await stranger.close()
    assert server.asked == []


async def test_its_own_namespace_has_its_lease_and_its_canary(server: FakeApiServer, kube: Kube) -> None:
    await kube.get(ObjectRef(LEASES, "stanch-system", "stanch"))
    await kube.get(ObjectRef(NAMESPACES, None, "stanch-system"))
    assert len(server.asked) == 2


async def test_a_list_of_all_is_one_of_each_namespace(server: FakeApiServer, kube: Kube) -> None:
    for name in ("a", "b"):
        server.will_answer(200, {"items": [{"metadata": {"name": name}}]})
    found = await kube.list(AIINCIDENTS, label_selector="drill")
    assert sorted(one["metadata"]["name"] for one in found) == ["a", "b"]
    assert {one.path for one in server.asked} == {
        "/apis/stanch.dev/v1alpha1/namespaces/chat/aiincidents",
        "/apis/stanch.dev/v1alpha1/namespaces/search/aiincidents",
    }
    assert all(one.query["labelSelector"] == "drill" for one in server.asked)


async def test_namespaces_are_listed_by_name_which_rbac_allows(server: FakeApiServer, kube: Kube) -> None:
    await kube.list(NAMESPACES, label_selector="tier=prod")
    asked = [(one.path, one.query["fieldSelector"], one.query["labelSelector"]) for one in server.asked]
    assert sorted(asked) == [
        ("/api/v1/namespaces", "metadata.name=chat", "tier=prod"),
        ("/api/v1/namespaces", "metadata.name=search", "tier=prod"),
    ]


async def test_what_is_of_the_cluster_is_listed_once(server: FakeApiServer, kube: Kube) -> None:
    await kube.list(CLUSTERCONTAINMENTPOLICIES)
    assert [one.path for one in server.asked] == ["/apis/stanch.dev/v1alpha1/clustercontainmentpolicies"]


async def test_a_namespace_that_lets_nobody_in_ends_nothing_in_the_others(
    server: FakeApiServer, kube: Kube
) -> None:
    answer_by_namespace(server, chat=403)
    assert [one["metadata"]["name"] for one in await kube.list(AIINCIDENTS)] == ["leak"]
    answer_by_namespace(server, chat=403, search=403)
    with pytest.raises(Forbidden):
        await kube.list(AIINCIDENTS)


async def test_what_cannot_be_read_now_is_not_left_out(server: FakeApiServer, kube: Kube) -> None:
    answer_by_namespace(server, chat=503)
    with pytest.raises(Unavailable):
        await kube.list(AIINCIDENTS)


async def test_without_namespaces_it_is_the_whole_cluster(server: FakeApiServer, kube: Kube) -> None:
    whole = replace(kube, scope=Scope())
    await whole.list(ROLEBINDINGS)
    await whole.get(BANK)
    assert server.asked[0].path == "/apis/rbac.authorization.k8s.io/v1/rolebindings"


def answer_by_namespace(server: FakeApiServer, **codes: int) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        namespace = request.path.split("/")[5]
        code = codes.get(namespace, 200)
        items = [{"metadata": {"name": "leak"}}]
        return web.json_response({"items": items} if code == 200 else {"message": "no"}, status=code)

    server.answers = [answer, answer]
