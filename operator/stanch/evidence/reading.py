"""Asking the API server, a bounded time for each question, and keeping what it answered or why it did not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from pydantic import ValidationError

from stanch.errors import StanchError
from stanch.evidence.model import Incomplete, Source
from stanch.evidence.selection import in_order

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import datetime

    from stanch.kube.client import Kube
    from stanch.kube.resources import ObjectRef, Resource
    from stanch.settings import Settings

Json = dict[str, Any]
T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Limits:
    """`log_bytes` is of each container's log, `request_seconds` of each question to the API server."""

    log_bytes: int = 256 * 1024
    total_bytes: int = 32 * 1024 * 1024
    pods: int = 200
    events: int = 2000
    concurrency: int = 8
    request_seconds: float = 5.0

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        return cls(log_bytes=settings.evidence_log_bytes, total_bytes=settings.evidence_bytes)


@dataclass(frozen=True, slots=True)
class Answer:
    """As it came, credentials and all. `rank` and `key` are its place in the order of the items."""

    rank: int
    key: tuple[str, ...]
    kind: str
    body: Json | bytes
    source: Source
    at: datetime
    truncated: bool = False


@dataclass
class Reading:
    """`deadline` is of the event loop's clock."""

    kube: Kube
    limits: Limits
    deadline: float
    now: Callable[[], datetime]
    answers: list[Answer] = field(default_factory=list)
    incomplete: list[Incomplete] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.limits.concurrency)

    def miss(self, what: str, reason: str, message: str) -> None:
        self.incomplete.append(Incomplete(what=what, reason=reason, message=message))

    async def ask(self, what: str, question: Callable[[], Awaitable[T]]) -> T | None:
        """The answer; None, and why, when there is none in time."""
        clock = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout_at(self.deadline), self._slots:
                async with asyncio.timeout(self.limits.request_seconds):
                    return await question()
        except TimeoutError:
            over = clock() >= self.deadline
            waited = f"{self.limits.request_seconds:g} s"
            self.miss(what, "Timeout", "the time was over" if over else f"no answer within {waited}")
        except StanchError as error:
            self.miss(what, error.reason, error.message)
        return None

    def understand(self, what: str, parse: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """None, and why, when an object is not as Kubernetes documents it."""
        try:
            return parse(*args, **kwargs)
        except ValidationError as error:
            self.miss(what, "NotUnderstood", str(error).replace("\n", " "))
        return None

    async def get(self, ref: ObjectRef) -> Json | None:
        """None, and why, also when it does not exist."""
        body = await self.ask(str(ref), lambda: self._existing(ref))
        return body or None

    async def _existing(self, ref: ObjectRef) -> Json:
        body = await self.kube.get(ref)
        if body is None:
            self.miss(str(ref), "NotFound", "it does not exist")
        return body or {}

    async def list(self, resource: Resource, namespace: str | None, query: str = "") -> list[Json] | None:
        """None when it could not be read, which is not the same as empty."""
        what = f"{resource.key} in {namespace}" if namespace else f"{resource.key} of the cluster"
        return await self.ask(what, lambda: self.kube.list(resource, namespace, label_selector=query))

    def keep(self, rank: int, body: Json) -> None:
        """One object as one item."""
        metadata = body.get("metadata") or {}
        source = Source(
            api_version=body["apiVersion"],
            kind=body["kind"],
            namespace=metadata.get("namespace"),
            name=metadata.get("name"),
            uid=metadata.get("uid"),
            resource_version=metadata.get("resourceVersion"),
        )
        key = (source.kind, source.namespace or "", source.name or "")
        self.answers.append(Answer(rank, key, source.kind.lower(), body, source, self.now()))

    def keep_list(
        self, rank: int, resource: Resource, namespace: str | None, objects: Iterable[Json]
    ) -> None:
        """Objects of one kind as one item, also when there are none: that is a fact, too."""
        source = Source(api_version=resource.api_version, kind=f"{resource.kind}List", namespace=namespace)
        body = {"apiVersion": "v1", "kind": "List", "items": in_order(objects)}
        self.answers.append(Answer(rank, (resource.key,), resource.plural, body, source, self.now()))
