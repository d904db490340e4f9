"""One object, as it is and then as it becomes: a list, then a watch that goes on where it was cut off.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stanch.errors import Gone, Retry, StanchError, Unavailable
from stanch.kube.translate import error_from
from stanch.kube.transport import NETWORK_RETRY_SECONDS, Request, unfenced

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from stanch.kube.client import Kube
    from stanch.kube.resources import ObjectRef

Json = dict[str, Any]

SERVED_SECONDS = 60
"""How long the API server keeps one watch open: a connection that died unnoticed is noticed then."""
_MARGIN_SECONDS = 5.0
_PAUSE_SECONDS = 0.5
"""Between two watches: a proxy that ends each at once is not asked without a pause."""


class _Version(BaseModel):
    model_config = ConfigDict(frozen=True)

    resource_version: str = Field(default="", alias="resourceVersion")


class _Object(BaseModel):
    model_config = ConfigDict(frozen=True)

    metadata: _Version = _Version()


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


async def watch(
    kube: Kube, ref: ObjectRef, troubled: Callable[[Retry], None]
) -> AsyncGenerator[Json | None, None]:
    """The object at once, and after each change; None while there is none. It never ends by itself.

    An API server that does not answer is told to `troubled` and waited for; then the object comes anew,
    changed or not. You need the verbs list and watch. Raises Rejected.
    """
    version = ""
    while True:
        try:
            if not version:
                body, version = await _listed(kube, ref)
                yield body
            async with aclosing(_events(kube, ref, version)) as events:
                async for event in events:
                    version = _version(event.object) or version
                    if event.type != "BOOKMARK":
                        yield None if event.type == "DELETED" else event.object
        except Gone:
            version = ""
        except Retry as error:
            version = ""
            troubled(error)
            await asyncio.sleep(error.after)
        await asyncio.sleep(_PAUSE_SECONDS)


async def _listed(kube: Kube, ref: ObjectRef) -> tuple[Json | None, str]:
    """The object, and the version of the list: that of an object may be too old to go on from."""
    answer = await kube.transport.send(_request(ref, "list", {}), before=unfenced)
    try:
        listed = _List.model_validate(answer)
    except ValidationError as error:
        raise _bad(f"list {ref}", "the answer is no list") from error
    head = {"apiVersion": ref.resource.api_version, "kind": ref.resource.kind}
    body = next((head | item for item in listed.items), None)
    return body, listed.metadata.resource_version


async def _events(kube: Kube, ref: ObjectRef, version: str) -> AsyncGenerator[_Event, None]:
    """Until the server ends it. Raises Gone when there is none of that version any more."""
    asked = {
        "watch": "true",
        "resourceVersion": version,
        "allowWatchBookmarks": "true",
        "timeoutSeconds": str(SERVED_SECONDS),
    }
    request = _request(ref, "watch", asked)
    async with aclosing(kube.transport.stream(request, seconds=SERVED_SECONDS + _MARGIN_SECONDS)) as lines:
        async for line in lines:
            event = _parse(request.what, line)
            if event.type == "ERROR":
                raise _said(request.what, event.object)
            yield event


def _request(ref: ObjectRef, verb: str, query: dict[str, str]) -> Request:
    selected = {"fieldSelector": f"metadata.name={ref.name}"} | query
    path = ref.resource.path(ref.namespace)
    return Request(verb, ref.resource.key, f"{verb} {ref}", "GET", path, selected)


def _parse(what: str, line: bytes) -> _Event:
    try:
        return _Event.model_validate_json(line)
    except ValidationError as error:
        raise _bad(what, "a line of the answer is no event") from error


def _version(body: Json) -> str:
    try:
        return _Object.model_validate(body).metadata.resource_version
    except ValidationError:
        return ""


def _said(what: str, status: Json) -> StanchError:
    """An event of type ERROR has a metav1.Status."""
    try:
        code = _Status.model_validate(status).code
    except ValidationError:
        code = HTTPStatus.INTERNAL_SERVER_ERROR
    return error_from(what, code, {}, json.dumps(status).encode())


def _bad(what: str, why: str) -> Unavailable:
    return Unavailable("BadAnswer", f"{what}: {why}", NETWORK_RETRY_SECONDS)
