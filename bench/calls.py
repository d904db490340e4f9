"""What was asked of the API server for an incident, from its audit log; a bare client that asks it again."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stanch.errors import StanchError
from stanch.kube.client import JSON, JSON_PATCH
from stanch.kube.resources import AIINCIDENTS, ObjectRef
from stanch.kube.transport import Request, unfenced

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from stanch.kube.client import Kube

Json = dict[str, Any]
OPERATOR = "system:serviceaccount:stanch-system:stanch"
INCIDENT = "toxic"
"""The name of every incident here; a namespace has one."""

_METHODS = {
    "get": "GET",
    "list": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}
_READS = {"get", "list"}
_ERRORS = HTTPStatus.BAD_REQUEST
_ATTEMPTS = 5
_AROUND = {"aiincidents", "containmentholds", "namespaces", "events", "serviceaccounts/token"}
"""What is written around a containment, not what contains."""


@dataclass(frozen=True, slots=True)
class Call:
    verb: str
    uri: str
    body: Json | list[Json] | None
    code: int
    user: str
    resource: str
    """`deployments`, `aiincidents/status`."""
    namespace: str
    """Empty where the request is about none, or all."""
    received: datetime
    answered: datetime

    @classmethod
    def of(cls, event: Json) -> Call:
        ref = event["objectRef"]
        sub = ref.get("subresource")
        resource = ref["resource"]
        return cls(
            verb=event["verb"],
            uri=event["requestURI"],
            body=event.get("requestObject"),
            code=event["responseStatus"]["code"],
            user=event["user"]["username"],
            resource=f"{resource}/{sub}" if sub else resource,
            namespace=ref.get("namespace") or (ref.get("name", "") if resource == "namespaces" else ""),
            received=datetime.fromisoformat(event["requestReceivedTimestamp"]),
            answered=datetime.fromisoformat(event["stageTimestamp"]),
        )

    @property
    def reads(self) -> bool:
        return self.verb in _READS

    @property
    def tries(self) -> bool:
        """Stores nothing: a dry run, or a question such as a SubjectAccessReview."""
        dry = "dryRun=" in self.uri or (isinstance(self.body, dict) and bool(self.body.get("dryRun")))
        return not self.reads and (dry or self.resource.endswith("reviews"))

    @property
    def contains(self) -> bool:
        """Whether it changes what contains: ending pods afterwards is only to hurry."""
        around = self.resource in _AROUND or self.resource.startswith("aiincidents/")
        ends_pod = (self.verb, self.resource) == ("delete", "pods")
        return not (self.reads or self.tries or self.failed or around or ends_pod)

    @property
    def failed(self) -> bool:
        """Answered with an error; that something is not there is an answer."""
        return self.code >= _ERRORS and self.code != HTTPStatus.NOT_FOUND


@dataclass(frozen=True, slots=True)
class Took:
    """From the request that created an incident to the answer to the last containing write."""

    began: datetime
    ended: datetime
    calls: tuple[Call, ...]
    """Of the operator's account until then, in the order in which they came."""
    all_calls: int
    """Until it was looked."""

    @property
    def seconds(self) -> float:
        return (self.ended - self.began).total_seconds()

    @property
    def by_kind(self) -> str:
        """How many, and of which kind."""
        reads, tries = sum(call.reads for call in self.calls), sum(call.tries for call in self.calls)
        return f"{len(self.calls)} ({reads} + {tries} + {len(self.calls) - reads - tries})"


@dataclass
class AuditLog:
    path: Path
    calls: list[Call] = field(default_factory=list)
    _read: int = 0

    def catch_up(self) -> None:
        with self.path.open("rb") as log:
            log.seek(self._read)
            for line in log:
                if not line.endswith(b"\n"):
                    break  # still being written
                self._read += len(line)
                event = json.loads(line)
                if "objectRef" in event:
                    self.calls.append(Call.of(event))

    def took(self, namespace: str, *, alone: bool) -> Took | None:
        """`alone`: everything since then was asked for this incident, wherever. None if nothing contained it.

        Collecting evidence changes nothing: it ends with the write that records it.
        """
        created = next((call for call in self.calls if _creates(call, namespace)), None)
        if created is None:
            return None
        others = {call.namespace for call in self.calls if _creates(call, call.namespace)} - {namespace}
        theirs = [
            call
            for call in self.calls
            if call.user == OPERATOR
            and call.received >= created.received
            and (call.namespace == namespace or (alone and not _of_another(call, others)))
        ]
        ends = [call for call in theirs if call.contains]
        ends = ends or [call for call in theirs if call.resource == "aiincidents/status"]
        if not ends:
            return None
        ended = max(call.answered for call in ends)
        calls = sorted((call for call in theirs if call.answered <= ended), key=lambda call: call.received)
        return Took(created.received, ended, tuple(calls), len(theirs))


def _creates(call: Call, namespace: str) -> bool:
    return (call.verb, call.resource, call.namespace) == ("create", "aiincidents", namespace)


def _of_another(call: Call, others: set[str]) -> bool:
    """What is still told or looked up of incidents that are over."""
    return call.resource == "aiincidents" or call.namespace in others


async def replay(kube: Kube, calls: Iterable[Call], names: Mapping[str, str], incident: Json) -> None:
    """The floor: the same requests for another incident, one after the other, without a thought in between.

    `names`: what is called otherwise where this one is, its namespace and pods. Raises StanchError where the
    recorded call did not.
    """
    path = ObjectRef(AIINCIDENTS, incident["metadata"]["namespace"], INCIDENT).path()
    for call, request in [(call, _request(call, names)) for call in calls]:
        asked = request
        if call.resource == "aiincidents/status" and isinstance(request.body, dict):
            asked = replace(request, body={**incident, "status": request.body["status"]})
        answer = await _ask(kube, asked, may_fail=call.code >= _ERRORS)
        if answer and asked.path.startswith(path):
            incident = json.loads(answer)


async def _ask(kube: Kube, request: Request, *, may_fail: bool) -> bytes | None:
    """Again when refused: an API server that has too much to do refuses writes for want of time (422)."""
    for _ in range(_ATTEMPTS - 1):
        with suppress(StanchError):
            return await kube.transport.fetch(request, before=unfenced)
        if may_fail:
            return None
    return await kube.transport.fetch(request, before=unfenced)


def _request(call: Call, names: Mapping[str, str]) -> Request:
    """What it was decided on is left out: uids and resourceVersions are of the other objects."""
    said = json.dumps([call.uri, call.body])
    for name, other in names.items():
        said = said.replace(name, other)
    address: str
    body: Json | list[Json] | None
    address, body = json.loads(said)
    if isinstance(body, list):
        body = [op for op in body if op["path"] != "/metadata/resourceVersion"]
    elif call.verb == "delete" and body is not None:
        body = {key: value for key, value in body.items() if key != "preconditions"}
    uri = urlsplit(address)
    path = f"{uri.path}?{uri.query}" if uri.query else uri.path
    return Request(
        call.verb,
        call.resource,
        f"{call.verb} {path}",
        _METHODS[call.verb],
        path,
        {},
        body,
        JSON_PATCH if call.verb == "patch" else JSON,
    )


def failures(calls: Sequence[Call]) -> str:
    """Their codes, and how often: `409: 3, 500: 1`; or `none`."""
    codes = [call.code for call in calls if call.failed]
    return ", ".join(f"{code}: {codes.count(code)}" for code in sorted(set(codes))) or "none"
