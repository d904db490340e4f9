"""The way back is proven before going forward: a change and its undo, both as dry runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stanch.actions.protocol import Edit, Make, Remove
from stanch.api.v1alpha1.hold import HELD_LABEL
from stanch.api.v1alpha1.status import Change, ChangeType
from stanch.errors import Forbidden
from stanch.incidents.facts import Preflight
from stanch.incidents.record import reference_of
from stanch.kube.rights import may
from stanch.plans.changes import all_in_place, stored_as

if TYPE_CHECKING:
    from stanch.incidents.acts import TryOut
    from stanch.kube.client import Kube
    from stanch.kube.resources import ObjectRef

Json = dict[str, Any]
_SET_BY_THE_SERVER = (
    "creationTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)


async def try_out(kube: Kube, act: TryOut, namespace: str) -> Preflight:
    """Raises Rejected with what the API server would refuse, Conflict when the object has moved on."""
    match act.intent:
        case Edit():
            return await _edit(kube, act, act.intent, namespace)
        case Make():
            return await _make(kube, act.intent, namespace)
        case Remove():
            return await _remove(kube, act.intent, namespace)


async def _edit(kube: Kube, act: TryOut, intent: Edit, namespace: str) -> Preflight:
    version = intent.obj.meta.resource_version
    stored = await kube.json_patch(intent.ref, act.way_there, resource_version=version, dry_run=True)
    await kube.json_patch(intent.ref, act.way_back, resource_version=version, dry_run=True)
    if not all_in_place(act.fields, stored):
        return Preflight(
            None,
            "the API server accepted the change but would store something else: "
            "an admission webhook of this cluster changes it; nothing was changed",
        )
    return Preflight(
        Change(
            object=intent.obj.reference_in(namespace),
            rule=intent.rule,
            fields=stored_as(act.fields, stored),
        )
    )


async def _make(kube: Kube, intent: Make, namespace: str) -> Preflight:
    """Raises Conflict with reason AlreadyExists when the name is taken: read again, decide again."""
    stored = await kube.create(
        intent.ref.resource, intent.ref.namespace, marked(intent.manifest), dry_run=True
    )
    await _may_delete(kube, intent.ref)
    return Preflight(
        Change(
            object=reference_of(intent.ref, namespace),
            type=ChangeType.CREATE,
            rule=intent.rule,
            manifest=without_server_fields(stored),
        )
    )


async def _remove(kube: Kube, intent: Remove, namespace: str) -> Preflight:
    meta = intent.obj.meta
    await kube.delete(intent.ref, uid=meta.uid, resource_version=meta.resource_version, dry_run=True)
    # The name is taken while the object stands: what may be created by another name may be by this one.
    trial = {
        **intent.manifest,
        "metadata": {**intent.manifest["metadata"], "name": f"{cut(meta.name)}-stanch-trial"},
    }
    await kube.create(intent.ref.resource, intent.ref.namespace, trial, dry_run=True)
    return Preflight(
        Change(
            object=intent.obj.reference_in(namespace),
            type=ChangeType.DELETE,
            rule=intent.rule,
            manifest=intent.manifest,
        )
    )


async def _may_delete(kube: Kube, ref: ObjectRef) -> None:
    """There is nothing yet whose deletion could be dry-run. Raises Forbidden."""
    if not await may(kube, "delete", ref):
        raise Forbidden(
            "Forbidden", f"delete {ref}: the operator may not, so that it could not be given back"
        )


def cut(name: str) -> str:
    """Its beginning, to which a suffix can be added: what is left of a name may not end with a dot."""
    return name[:230].rstrip("-.")


def marked(manifest: Json) -> Json:
    """With the label that says that Stanch holds it."""
    metadata = manifest["metadata"]
    labels = {**(metadata.get("labels") or {}), HELD_LABEL: "true"}
    return {**manifest, "metadata": {**metadata, "labels": labels}}


def without_server_fields(body: Json) -> Json:
    """What a manifest says: the object without its status and what only the server sets in its metadata."""
    metadata = {key: value for key, value in body["metadata"].items() if key not in _SET_BY_THE_SERVER}
    return {key: value for key, value in body.items() if key != "status"} | {"metadata": metadata}
