"""An API server in memory with one ReplicaSet, whose every answer waits until it is let through.

A call stops before it takes effect: the test decides whose call is next, and where a process ends.
"""

from __future__ import annotations

import asyncio
import copy
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import jsonpatch

from stanch.actions.protocol import Tools
from stanch.errors import Conflict
from stanch.evidence.reading import Limits
from stanch.evidence.take import Collector
from stanch.kube.resources import (
    AIINCIDENTS,
    CONTAINMENTHOLDS,
    EVENTS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    ObjectRef,
    Resource,
)
from tests.unit.actions.cluster_objects import body, pod_body

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stanch.kube.client import Kube

from stanch.verification.measure import Measurer

Json = dict[str, Any]
WHO: ContextVar[str] = ContextVar("who")
SPACE = ObjectRef(NAMESPACES, None, "chat")
TARGET = ObjectRef(REPLICASETS, "chat", "llm")
HOLD = ObjectRef(CONTAINMENTHOLDS, "chat", "stanch")


def tools_of(collector: Collector) -> Tools:
    """No check is looked at."""
    nobody = cast("Kube", None)
    return Tools(collector, Measurer(nobody, None, collector, lambda: datetime.now(UTC), lambda _: None))


NO_TOOLS = tools_of(Collector(cast("Kube", None), None, Limits(), "nobody", lambda: datetime.now(UTC)))
"""Of an operator that has nowhere to store evidence."""


class InMemory:
    """The calls of `Kube` that the engine makes. A write names the version it was decided on."""

    def __init__(self) -> None:
        self.version = 10
        self.objects: dict[ObjectRef, Json] = {}
        self.waiting: list[tuple[str, asyncio.Future[None]]] = []
        self._store(SPACE, {"metadata": {"name": "chat", "uid": "chat", "labels": {"name": "chat"}}})
        self._store(TARGET, body("ReplicaSet", "llm"))
        self.controllers()

    def controllers(self) -> None:
        """The ReplicaSet controller catches up: pods as many as are asked for."""
        target = self.objects[TARGET]
        replicas = target["spec"]["replicas"]
        target["status"] = {"observedGeneration": target["metadata"]["generation"], "replicas": replicas}
        self.pods = [pod_body(f"llm-{number}", target["metadata"]["uid"]) for number in range(replicas)]

    def scale(self, replicas: int) -> bool:
        """By a person, judged as manifests/admission/hold.yaml does. Whether it was allowed."""
        held = self.objects.get(HOLD, {"spec": {}})["spec"].get("held", "")
        holding = "stanch.dev/holding" in self.objects[SPACE]["metadata"]["labels"]
        had = self.objects[TARGET]["spec"]["replicas"]
        if holding and "\nStopped apps/replicasets/llm " in held and replicas > had:
            return False
        self.change(TARGET, ("spec", "replicas"), replicas)
        return True

    def change(self, ref: ObjectRef, path: tuple[str, str], value: Any) -> None:
        new = copy.deepcopy(self.objects[ref])
        new[path[0]][path[1]] = value
        self._store(ref, new)

    async def get(self, ref: ObjectRef) -> Json | None:
        await self._turn()
        return copy.deepcopy(self.objects.get(ref))

    async def list(self, resource: Resource, _namespace: str, **_selectors: str) -> list[Json]:
        await self._turn()
        return copy.deepcopy(self.pods) if resource == PODS else []

    async def create(self, resource: Resource, namespace: str, new: Json) -> Json:
        if resource == EVENTS:
            return new
        await self._turn()
        ref = ObjectRef(resource, namespace, new["metadata"]["name"])
        if ref in self.objects:
            raise Conflict("AlreadyExists", f"{ref} exists")
        return self._store(ref, new)

    async def json_patch(
        self, ref: ObjectRef, ops: Sequence[Json], *, resource_version: str, dry_run: bool = False
    ) -> Json:
        await self._turn()
        old = self._current(ref, resource_version)
        new: Json = jsonpatch.apply_patch(copy.deepcopy(old), list(ops))
        return new if dry_run else self._store(ref, new)

    async def replace_status(self, ref: ObjectRef, new: Json) -> Json:
        await self._turn()
        old = self._current(ref, new["metadata"]["resourceVersion"])
        return self._store(ref, {**copy.deepcopy(old), "status": copy.deepcopy(new["status"])})

    async def delete(self, ref: ObjectRef, *, resource_version: str | None = None, **_options: Any) -> None:
        await self._turn()
        if ref in self.objects and resource_version is not None:
            self._current(ref, resource_version)
        self.objects.pop(ref, None)

    async def _turn(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((WHO.get(), future))
        await future

    def let_through(self, who: str) -> bool:
        """The oldest call of `who` takes effect. False when none waits."""
        for index, (name, future) in enumerate(self.waiting):
            if name == who:
                del self.waiting[index]
                if not future.done():
                    future.set_result(None)
                return True
        return False

    def _current(self, ref: ObjectRef, version: str) -> Json:
        old = self.objects.get(ref)
        if old is None or old["metadata"]["resourceVersion"] != version:
            raise Conflict("Conflict", f"{ref} has been modified")
        return old

    def _store(self, ref: ObjectRef, new: Json) -> Json:
        self.version += 1
        stored = copy.deepcopy(new)
        meta = stored["metadata"]
        old = self.objects.get(ref)
        same = old is not None and old.get("spec") == stored.get("spec")
        meta["generation"] = meta.get("generation", 0) + (0 if same else 1)
        meta.setdefault("uid", f"uid-{ref.name}")
        meta["resourceVersion"] = str(self.version)
        self.objects[ref] = stored
        if ref.resource == AIINCIDENTS and "deletionTimestamp" in meta and not meta.get("finalizers"):
            del self.objects[ref]
        return copy.deepcopy(stored)
