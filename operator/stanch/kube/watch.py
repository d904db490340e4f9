"""Objects, as they are and then as they become: a list, then a watch that goes on where it was cut off.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stanch.errors import Gone, Retry, StanchError, Unavailable
from stanch.kube.translate import error_from
from stanch.kube.transport import NETWORK_RETRY_SECONDS, Request, unfenced

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from stanch.kube.client import Kube
    from stanch.kube.resources import ObjectRef, Resource

Json = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name."""

SERVED_SECONDS = 60
"""How long the API server keeps one watch open: a connection that died unnoticed is noticed then."""
_MARGIN_SECONDS = 5.0
_PAUSE_SECONDS = 0.5
"""Between two watches: a proxy that ends each at once is not asked without a pause."""


class _Meta(BaseModel):
    model_config = ConfigDict(frozen=True)

    namespace: str = ""
    name: str = ""
    resource_version: str = Field(default="", alias="resourceVersion")


class _Object(BaseModel):
    model_config = ConfigDict(frozen=True)

    metadata: _Meta = _Meta()


class _List(_Object):
    items: list[Json]


class _Event(BaseModel):
    """metav1.WatchEvent."""

    model_config = ConfigDict(frozen=True)

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: Json


class _Status(BaseModel):
    model_config = ConfigDict(frozen=True)

    code: int = HTTPStatus.INTERNAL_SERVER_ERROR


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is watched: all in a namespace, or in every one; with a name that object alone."""

    resource: Resource
    namespace: str | None
    name: str = ""

    def __str__(self) -> str:
        where = "/".join(filter(None, (self.namespace, self.name)))
        return f"{self.resource.kind} {where}".rstrip()

    def request(self, verb: str, query: dict[str, str]) -> Request:
        one = {"fieldSelector": f"metadata.name={self.name}"} if self.name else {}
        path = self.resource.path(self.namespace)
        return Request(verb, self.resource.key, f"{verb} {self}", "GET", path, one | query)


async def watch(
    kube: Kube, ref: ObjectRef, troubled: Callable[[Retry], None]
) -> AsyncGenerator[Json | None, None]:
    """The object at once, and after each change; None while there is none. It never ends by itself.

    An API server that does not answer is told to `troubled` and waited for; then the object comes anew,
    changed or not. You need the verbs list and watch. Raises Rejected.
    """
    async with aclosing(_states(kube, _Asked(ref.resource, ref.namespace, ref.name), troubled)) as states:
        async for bodies in states:
            yield next(iter(bodies.values()), None)


async def watch_all(
    kube: Kube, resource: Resource, namespace: str | None, troubled: Callable[[Retry], None]
) -> AsyncGenerator[dict[Key, Json], None]:
    """As `watch`, of all in a namespace, or in every one: a body that has not changed is the same object."""
    async with aclosing(_states(kube, _Asked(resource, namespace), troubled)) as states:
        async for bodies in states:
            yield dict(bodies)


async def _states(
    kube: Kube, asked: _Asked, troubled: Callable[[Retry], None]
) -> AsyncGenerator[dict[Key, Json], None]:
    """The one dictionary, at once and after each change."""
    bodies: dict[Key, Json] = {}
    version = ""
    while True:
        try:
            if not version:
                bodies, version = await _listed(kube, asked)
                yield bodies
            async with aclosing(_events(kube, asked, version)) as events:
                async for event in events:
                    meta = _meta(event.object)
                    version = meta.resource_version or version
                    if event.type == "BOOKMARK":
                        continue
                    if event.type == "DELETED":
                        bodies.pop((meta.namespace, meta.name), None)
                    else:
                        bodies[meta.namespace, meta.name] = event.object
                    yield bodies
        except Gone:
            version = ""
        except Retry as error:
            version = ""
            troubled(error)
            await asyncio.sleep(error.after)
        await asyncio.sleep(_PAUSE_SECONDS)


async def _listed(kube: Kube, asked: _Asked) -> tuple[dict[Key, Json], str]:
    """The objects, and the version of the list: that of an object may be too old to go on from."""
    answer = await kube.transport.send(asked.request("list", {}), before=unfenced)
    try:
        listed = _List.model_validate(answer)
    except ValidationError as error:
        raise _bad(f"list {asked}", "the answer is no list") from error
    head = {"apiVersion": asked.resource.api_version, "kind": asked.resource.kind}
    metas = [_meta(item) for item in listed.items]
    bodies = {
        (meta.namespace, meta.name): head | item for meta, item in zip(metas, listed.items, strict=True)
    }
    return bodies, listed.metadata.resource_version


async def _events(kube: Kube, about: _Asked, version: str) -> AsyncGenerator[_Event, None]:
    """Until the server ends it. Raises Gone when there is none of that version any more."""
    asked = {
        "watch": "true",
        "resourceVersion": version,
        "allowWatchBookmarks": "true",
        "timeoutSeconds": str(SERVED_SECONDS),
    }
    request = about.request("watch", asked)
    async with aclosing(kube.transport.stream(request, seconds=SERVED_SECONDS + _MARGIN_SECONDS)) as lines:
        async for line in lines:
            event = _parse(request.what, line)
            if event.type == "ERROR":
                raise _said(request.what, event.object)
            yield event


def _parse(what: str, line: bytes) -> _Event:
    try:
        return _Event.model_validate_json(line)
    except ValidationError as error:
        raise _bad(what, "a line of the answer is no event") from error


def _meta(body: Json) -> _Meta:
    try:
        return _Object.model_validate(body).metadata
    except ValidationError:
        return _Meta()


def _said(what: str, status: Json) -> StanchError:
    """An event of type ERROR has a metav1.Status."""
    try:
        code = _Status.model_validate(status).code
    except ValidationError:
        code = HTTPStatus.INTERNAL_SERVER_ERROR
    return error_from(what, code, {}, json.dumps(status).encode())


def _bad(what: str, why: str) -> Unavailable:
    return Unavailable("BadAnswer", f"{what}: {why}", NETWORK_RETRY_SECONDS)
