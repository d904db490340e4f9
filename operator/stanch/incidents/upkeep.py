"""What of a step's recorded changes is not in place, and the act that puts it there. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stanch.api.v1alpha1.hold import HELD_LABEL
from stanch.api.v1alpha1.status import Change, ChangeType
from stanch.incidents.acts import Create, Delete, Patch
from stanch.incidents.record import ref_of
from stanch.plans.changes import forward, pointer

if TYPE_CHECKING:
    from stanch.actions.objects import Obj
    from stanch.actions.protocol import Action, Ask, Observation

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Missing:
    """One change that is not in place: `obj` is what stands there instead, None when nothing does."""

    change: Change
    obj: Obj | None
    act: Patch | Create | Delete


def missing(changes: tuple[Change, ...], action: Action, seen: Observation, ask: Ask) -> list[Missing]:
    return [gap for change in changes if (gap := _gap(change, action, seen, ask)) is not None]


def _gap(change: Change, action: Action, seen: Observation, ask: Ask) -> Missing | None:
    match change.type:
        case ChangeType.UPDATE:
            obj = seen.find(change.object.uid)
            if obj is None or action.stands(change, obj, ask):
                return None
            return Missing(change, obj, Patch(obj, forward(change.fields, obj.json)))
        case ChangeType.CREATE:
            return _not_as_made(change, action, seen, ask)
        case ChangeType.DELETE:
            obj = seen.named(ref_of(change.object, ask.namespace))
            if obj is None or obj.meta.deletion_timestamp is not None:
                return None
            return Missing(change, obj, Delete(obj))


def _not_as_made(change: Change, action: Action, seen: Observation, ask: Ask) -> Missing | None:
    ref = ref_of(change.object, ask.namespace)
    obj = seen.named(ref)
    if obj is None:
        return Missing(change, None, Create(ref, change.manifest))
    ops = as_made(change.manifest, obj)
    return (
        Missing(change, obj, Patch(obj, ops))
        if ops and not action.tolerates(change, obj, seen, ask)
        else None
    )


def as_made(manifest: Json, obj: Obj) -> list[Json]:
    """The JSON Patch that makes an object of ours what it was made as, but for metadata and status."""
    ops: list[Json] = []
    for key in {**manifest, **obj.json}:
        if key in {"apiVersion", "kind", "metadata", "status"} or manifest.get(key) == obj.json.get(key):
            continue
        path = pointer(key)
        ops.append(
            {"op": "add", "path": path, "value": manifest[key]}
            if key in manifest
            else {"op": "remove", "path": path}
        )
    if obj.meta.labels.get(HELD_LABEL) != "true":
        labels = {**obj.meta.labels, HELD_LABEL: "true"}
        ops.append({"op": "add", "path": pointer("metadata", "labels"), "value": labels})
    return ops
