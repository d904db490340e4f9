"""The API server as far as signals need it: a dictionary that is read, listed and created in. Not a cluster.

What a test puts into `before` is called as a request arrives, and may answer by raising.
"""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from typing import TYPE_CHECKING, Any

from stanch.errors import Conflict, NotFound
from stanch.kube.resources import (
    AIINCIDENTS,
    CLUSTERCONTAINMENTPOLICIES,
    CONTAINMENTPOLICIES,
    CRONJOBS,
    DAEMONSETS,
    DEPLOYMENTS,
    EVENTS,
    JOBS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    STATEFULSETS,
    ObjectRef,
    Resource,
)

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]

_RESOURCES = {
    one.kind: one
    for one in (
        AIINCIDENTS,
        CLUSTERCONTAINMENTPOLICIES,
        CONTAINMENTPOLICIES,
        CRONJOBS,
        DAEMONSETS,
        DEPLOYMENTS,
        JOBS,
        NAMESPACES,
        PODS,
        REPLICASETS,
        STATEFULSETS,
    )
}


class FakeCluster:
    """The calls of `Kube` that the intake makes."""

    def __init__(self) -> None:
        self.objects: dict[ObjectRef, Json] = {}
        self.events: dict[str, Json] = {}
        self.asked: Counter[str] = Counter()
        self.before: dict[str, Callable[[], None]] = {}
        self.namespace("chat")

    def namespace(self, name: str, **labels: str) -> None:
        self.add({"kind": "Namespace", "metadata": {"name": name, "labels": labels}})

    def add(self, body: Json) -> Json:
        body = copy.deepcopy(body)
        resource = _RESOURCES[body["kind"]]
        meta = body["metadata"]
        if resource.namespaced:
            meta.setdefault("namespace", "chat")
        meta.setdefault("uid", f"uid-{body['kind']}-{meta['name']}")
        meta.setdefault("resourceVersion", "7")
        self.objects[self._ref(resource, meta)] = body
        return body

    def workload(self, kind: str, name: str, owner: Json | None = None, **meta: Any) -> Json:
        """Controlled by `owner`, if there is one."""
        owners = []
        if owner is not None:
            of = owner["metadata"]
            owners = [{"kind": owner["kind"], "name": of["name"], "uid": of["uid"], "controller": True}]
        return self.add({"kind": kind, "metadata": {"name": name, "ownerReferences": owners, **meta}})

    def remove(self, body: Json) -> None:
        del self.objects[self._ref(_RESOURCES[body["kind"]], body["metadata"])]

    def incidents(self) -> list[Json]:
        return [body for ref, body in self.objects.items() if ref.resource == AIINCIDENTS]

    def incident(self) -> Json:
        (one,) = self.incidents()
        return one

    async def get(self, ref: ObjectRef) -> Json | None:
        await self._asked(f"get {ref.resource.plural}")
        return copy.deepcopy(self.objects.get(ref))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        metadata_only: bool = False,
    ) -> list[Json]:
        await self._asked(f"list {resource.plural}")
        return [
            copy.deepcopy({"metadata": body["metadata"]} if metadata_only else body)
            for ref, body in self.objects.items()
            if ref.resource == resource
            and (namespace is None or ref.namespace == namespace)
            and _selected(label_selector, body["metadata"].get("labels", {}))
        ]

    async def create(self, resource: Resource, namespace: str, body: Json) -> Json:
        await self._asked(f"create {resource.plural}")
        name = body["metadata"]["name"]
        if resource == EVENTS:
            if name in self.events:
                raise Conflict("AlreadyExists", f"Event {name} exists")
            self.events[name] = body
            return body
        ref = ObjectRef(resource, namespace, name)
        if ObjectRef(NAMESPACES, None, namespace) not in self.objects:
            raise NotFound("NotFound", f'namespaces "{namespace}" not found')
        if ref in self.objects:
            raise Conflict("AlreadyExists", f"{ref} exists")
        return self.add(body)

    async def _asked(self, what: str) -> None:
        """Whoever else asks has a turn in between."""
        await asyncio.sleep(0)
        self.asked[what] += 1
        self.before.get(what, lambda: None)()

    @staticmethod
    def _ref(resource: Resource, meta: Json) -> ObjectRef:
        return ObjectRef(resource, meta.get("namespace") if resource.namespaced else None, meta["name"])


def _selected(selector: str, labels: Json) -> bool:
    terms = [term.partition("=") for term in selector.split(",") if term]
    return all(key in labels and (not equals or labels[key] == value) for key, equals, value in terms)
