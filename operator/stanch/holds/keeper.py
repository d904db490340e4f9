"""Reads and writes a namespace's ContainmentHold and the label that puts it in force. The only writer."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import ValidationError

from stanch.api.v1alpha1.hold import HOLD_NAME, HOLDING_LABEL, ContainmentHold, ContainmentHoldSpec, Held
from stanch.errors import Conflict, Rejected, Retry
from stanch.holds import entries
from stanch.kube.resources import CONTAINMENTHOLDS, NAMESPACES, ObjectRef
from stanch.plans.changes import pointer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from stanch.kube.client import Json, Kube

_ATTEMPTS = 5
_LABELS = pointer("metadata", "labels")
_LABEL = pointer("metadata", "labels", HOLDING_LABEL)


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands: the entries, and whether the namespace's label makes admission look at them."""

    holding: bool
    held: Held
    ending: bool = False
    """Whether the namespace is being deleted: nothing can be created in it any more."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The namespace's."""


@dataclass
class HoldKeeper:
    """One read-modify-write at a time per namespace.

    The locks only save conflicts: what keeps two writers apart is the resourceVersion of the hold.
    """

    kube: Kube
    _locks: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def read(self, namespace: str) -> Standing:
        space, hold = await asyncio.gather(self._namespace(namespace), self._hold(namespace))
        return Standing(_holding(space), hold.spec.entries() if hold else {}, _ending(space), _labels(space))

    async def ensure(self, namespace: str, wanted: Held) -> Standing:
        """Label the namespace, then make the entries stand. Raises Retry while one of them is given back."""

        def join(held: Held) -> Held:
            releasing = entries.busy(held, wanted)
            if releasing:
                raise Retry(
                    "BeingGivenBack", f"AIIncident {namespace}/{releasing} is restoring this workload", 0.2
                )
            return entries.join(held, wanted)

        async with self._locks[namespace]:
            await self._label(namespace)
            return Standing(holding=True, held=await self._update(namespace, join))

    async def give_back(
        self, namespace: str, incident: str, ghosts: frozenset[str], kept: Collection[str] = ()
    ) -> Held:
        async with self._locks[namespace]:
            return await self._update(namespace, lambda held: entries.give_back(held, incident, ghosts, kept))

    async def drop(self, namespace: str, incident: str) -> Standing:
        """Take out what was given back; after the last entry the hold goes, then the namespace's label."""
        async with self._locks[namespace]:
            held = await self._update(namespace, lambda standing: entries.drop(standing, incident))
            if not held:
                await self._unlabel(namespace)
            return Standing(holding=bool(held), held=held)

    async def _update(self, namespace: str, change: Callable[[Held], Held]) -> Held:
        for _ in range(_ATTEMPTS):
            hold = await self._hold(namespace)
            before = hold.spec.entries() if hold else {}
            after = change(before)
            if dict(after) == dict(before) and (after or hold is None):
                return after
            try:
                await self._write(namespace, hold, after)
            except Conflict:
                continue
            return after
        raise Retry("Conflict", f"the hold of namespace {namespace} keeps changing", 0.5)

    async def _write(self, namespace: str, hold: ContainmentHold | None, held: Held) -> None:
        ref = ObjectRef(CONTAINMENTHOLDS, namespace, HOLD_NAME)
        if hold is None:
            body = {
                "apiVersion": CONTAINMENTHOLDS.api_version,
                "kind": CONTAINMENTHOLDS.kind,
                "metadata": {"name": HOLD_NAME, "namespace": namespace},
                "spec": _spec(namespace, held),
            }
            await self.kube.create(CONTAINMENTHOLDS, namespace, body)
        elif held:
            ops = [{"op": "replace", "path": "/spec", "value": _spec(namespace, held)}]
            await self.kube.json_patch(ref, ops, resource_version=hold.metadata.resource_version)
        else:
            await self.kube.delete(ref, resource_version=hold.metadata.resource_version)

    async def _hold(self, namespace: str) -> ContainmentHold | None:
        body = await self.kube.get(ObjectRef(CONTAINMENTHOLDS, namespace, HOLD_NAME))
        return ContainmentHold.model_validate(body) if body else None

    async def _namespace(self, namespace: str) -> Json:
        body = await self.kube.get(ObjectRef(NAMESPACES, None, namespace))
        if body is None:
            raise Rejected("NamespaceGone", f"namespace {namespace} does not exist")
        return body

    async def _label(self, namespace: str) -> None:
        body = await self._namespace(namespace)
        if _holding(body):
            return
        labels = body["metadata"].get("labels")
        ops: list[Json] = [] if labels else [{"op": "add", "path": _LABELS, "value": {}}]
        ops.append({"op": "add", "path": _LABEL, "value": "true"})
        await self._patch_namespace(namespace, body, ops)

    async def _unlabel(self, namespace: str) -> None:
        body = await self._namespace(namespace)
        if _holding(body):
            await self._patch_namespace(namespace, body, [{"op": "remove", "path": _LABEL}])

    async def _patch_namespace(self, namespace: str, body: Json, ops: list[Json]) -> None:
        version = body["metadata"]["resourceVersion"]
        await self.kube.json_patch(ObjectRef(NAMESPACES, None, namespace), ops, resource_version=version)


def _holding(namespace: Json) -> bool:
    return _labels(namespace).get(HOLDING_LABEL) == "true"


def _labels(namespace: Json) -> Mapping[str, str]:
    return namespace["metadata"].get("labels") or {}


def _ending(namespace: Json) -> bool:
    return "deletionTimestamp" in namespace["metadata"]


def _spec(namespace: str, held: Held) -> Json:
    """Raises Rejected when it is more than one ContainmentHold may say."""
    try:
        return ContainmentHoldSpec.of(held).wire()
    except ValidationError as error:
        what = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise Rejected(
            "HoldFull",
            f"the hold of namespace {namespace} cannot take {len(held)} entries ({what}); nothing more was "
            "contained; release incidents that are over",
        ) from error
