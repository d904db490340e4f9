"""Whoever looks at one object sees each of its states, whatever becomes of the connection."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from stanch.errors import Forbidden, Retry, StanchError
from stanch.kube import watch as watching
from stanch.kube.resources import AIINCIDENTS, ObjectRef
from stanch.kube.watch import watch, watch_all
from tests.unit.kube.fake_api_server import FakeApiServer, client_of, fake_api_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


Json = dict[str, Any]
INCIDENT = ObjectRef(AIINCIDENTS, "chat", "toxic")
EXPIRED = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(watching, "NETWORK_RETRY_SECONDS", 0.0)


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with fake_api_server() as server:
        yield server


def state(version: str, phase: str) -> Json:
    return {"metadata": {"name": "toxic", "resourceVersion": version}, "status": {"phase": phase}}


def event(kind: str, version: str, phase: str = "") -> Json:
    return {"type": kind, "object": state(version, phase)}


def lists(server: FakeApiServer, version: str, *items: Json) -> None:
    server.will_answer(200, {"items": list(items), "metadata": {"resourceVersion": version}})


def tells(server: FakeApiServer, *events: Json | bytes, then: float = 0.0) -> None:
    """A watch that has these events, each cut in two pieces, and ends."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for each in events:
            line = each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n"
            await response.write(line[:10])
            await asyncio.sleep(0.005)
            await response.write(line[10:])
        await asyncio.sleep(then)
        return response

    server.answers.append(answer)


@asynccontextmanager
async def watched(server: FakeApiServer) -> AsyncIterator[tuple[AsyncIterator[Json | None], list[Retry]]]:
    troubles: list[Retry] = []
    async with client_of(server) as kube, aclosing(watch(kube, INCIDENT, troubles.append)) as states:
        yield states, troubles


async def phases(states: AsyncIterator[Json | None], count: int) -> list[str | None]:
    seen = []
    async with asyncio.timeout(10):
        async for body in states:
            seen.append(None if body is None else body["status"]["phase"])
            if len(seen) == count:
                break
    return seen


async def test_what_is_there_comes_first_and_then_each_change(server: FakeApiServer) -> None:
    lists(server, "9", state("3", "Detected"))
    tells(server, event("MODIFIED", "10", "Containing"), event("MODIFIED", "11", "Contained"))
    async with watched(server) as (states, troubles):
        assert await phases(states, 3) == ["Detected", "Containing", "Contained"]
    listed, watch_ = server.asked
    assert listed.path == watch_.path == "/apis/stanch.dev/v1alpha1/namespaces/chat/aiincidents"
    assert listed.query == {"fieldSelector": "metadata.name=toxic"}
    assert (watch_.query["watch"], watch_.query["resourceVersion"]) == ("true", "9")
    assert troubles == []


async def test_it_goes_on_where_it_was_cut_off(server: FakeApiServer) -> None:
    lists(server, "9", state("3", "Detected"))
    tells(server, event("MODIFIED", "10", "Containing"), {"type": "BOOKMARK", "object": state("15", "")})
    tells(server, event("MODIFIED", "16", "Contained"))
    async with watched(server) as (states, troubles):
        assert await phases(states, 3) == ["Detected", "Containing", "Contained"]
    assert [asked.query.get("resourceVersion") for asked in server.asked] == [None, "9", "15"]
    assert troubles == []


async def test_after_an_outage_it_is_told_and_looked_at_anew(server: FakeApiServer) -> None:
    lists(server, "9", state("3", "Detected"))
    server.will_answer(503)
    server.will_answer(200, {"kind": "NoList"})
    lists(server, "9", state("3", "Detected"))
    async with watched(server) as (states, troubles):
        assert await phases(states, 2) == ["Detected", "Detected"]
    assert [error.reason for error in troubles] == ["ServerError", "BadAnswer"]


@pytest.mark.parametrize("how", ["an event", "the answer"])
async def test_what_is_too_old_to_go_on_from_is_listed_again(server: FakeApiServer, how: str) -> None:
    lists(server, "9", state("3", "Detected"))
    if how == "an event":
        tells(server, EXPIRED)
    else:
        server.will_answer(410, EXPIRED["object"])
    lists(server, "90", state("80", "Contained"))
    tells(server, event("MODIFIED", "91", "Closed"))
    async with watched(server) as (states, troubles):
        assert await phases(states, 3) == ["Detected", "Contained", "Closed"]
    assert [asked.query.get("resourceVersion") for asked in server.asked] == [None, "9", None, "90"]
    assert troubles == []


async def test_what_is_deleted_is_none_and_what_was_never_there_is_none(server: FakeApiServer) -> None:
    lists(server, "9")
    tells(server, event("ADDED", "10", "Detected"), event("DELETED", "11"))
    async with watched(server) as (states, _):
        assert await phases(states, 3) == [None, "Detected", None]


@pytest.mark.parametrize("namespace", ["chat", None])
async def test_all_are_seen_together_and_what_has_not_changed_is_the_same(
    server: FakeApiServer, namespace: str | None
) -> None:
    def named(name: str, version: str) -> Json:
        return {"metadata": {"namespace": "chat", "name": name, "resourceVersion": version}}

    troubles: list[Retry] = []
    lists(server, "9", named("a", "3"), named("b", "4"))
    tells(
        server,
        {"type": "MODIFIED", "object": named("b", "10")},
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "11"}}},
        {"type": "DELETED", "object": named("a", "12")},
    )
    tells(server, {"type": "ADDED", "object": named("c", "13")})
    async with (
        client_of(server) as kube,
        aclosing(watch_all(kube, AIINCIDENTS, namespace, troubles.append)) as states,
        asyncio.timeout(10),
    ):
        seen = [await anext(states) for _ in range(4)]
    assert [[name for _, name in each] for each in seen] == [["a", "b"], ["a", "b"], ["b"], ["b", "c"]]
    assert troubles == []
    a, b, c = ("chat", "a"), ("chat", "b"), ("chat", "c")
    assert seen[0][a] is seen[1][a]
    assert seen[0][b] is not seen[1][b]
    assert seen[1][b] is seen[3][b]
    assert seen[3][c]["metadata"]["resourceVersion"] == "13"
    where = "/namespaces/chat" if namespace else ""
    assert {each.path for each in server.asked} == {f"/apis/stanch.dev/v1alpha1{where}/aiincidents"}
    assert [each.query.get("resourceVersion") for each in server.asked] == [None, "9", "12"]
    assert all("fieldSelector" not in each.query for each in server.asked)


async def test_who_may_not_is_told_so(server: FakeApiServer) -> None:
    server.will_answer(403, {"message": "cannot list", "reason": "Forbidden"})
    async with watched(server) as (states, _):
        with pytest.raises(Forbidden, match="cannot list"):
            await anext(states)


async def test_credentials_that_are_refused_are_read_again(server: FakeApiServer) -> None:
    lists(server, "9", state("3", "Detected"))
    server.will_answer(401)
    tells(server, event("MODIFIED", "10", "Contained"))
    async with watched(server) as (states, troubles):
        assert await phases(states, 2) == ["Detected", "Contained"]
    assert troubles == []


async def test_a_line_that_never_ends_is_given_up(
    server: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stanch.kube.transport.LONGEST_LINE", 1000)
    lists(server, "9", state("3", "Detected"))
    tells(server, b"x" * 5000, then=5.0)
    server.will_answer(403)
    async with watched(server) as (states, troubles):
        assert await phases(states, 1) == ["Detected"]
        with pytest.raises(Forbidden):
            await anext(states)
    assert "a line of more than 1000 bytes" in troubles[0].message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
LINES = (
    st.binary(max_size=40)
    | JSON.map(lambda each: json.dumps(each).encode())
    | st.fixed_dictionaries(
        {
            "type": st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR", "OTHER"]),
            "object": st.dictionaries(st.sampled_from(["metadata", "code", "message"]), JSON) | JSON,
        }
    ).map(lambda each: json.dumps(each).encode())
)


@given(LINES)
def test_whatever_a_watch_says_is_an_object_or_a_documented_error(line: bytes) -> None:
    try:
        event = watching._parse("watch", line)
        if event.type == "ERROR":
            raise watching._said("watch", event.object)
    except Retry:
        return
    except StanchError as error:
        assert error.message.startswith("watch: ")  # noqa: PT017 - either is well
        return
    assert isinstance(watching._meta(event.object).resource_version, str)
