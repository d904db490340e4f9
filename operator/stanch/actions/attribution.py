"""Who last set a field, as far as the API server tells: metadata.managedFields.

https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from stanch.plans.changes import keys_of, lookup, pointer

if TYPE_CHECKING:
    from stanch.actions.objects import Obj
    from stanch.actions.protocol import Observation
    from stanch.api.v1alpha1.meta import ManagedFields

UNKNOWN = "an unknown field manager"
_ALL_OF_IT = ""
_SPEC = pointer("spec")
_REPLICAS = pointer("spec", "replicas")
_EPOCH = datetime.fromtimestamp(0, UTC)


def changed_by(obj: Obj, path: str) -> str:
    """The newest manager of the field, such as `kubectl-edit`; field managers name programs, not people."""
    owners = [entry for entry in obj.meta.managed_fields if entry.manager != "stanch" and _owns(entry, path)]
    newest = max(owners, key=lambda entry: entry.time or _EPOCH, default=None)
    if newest is None:
        return UNKNOWN
    return f"field manager {newest.manager}"


def written_by(obj: Obj) -> str:
    """The newest manager of what the object asks for, not of its status."""
    return changed_by(obj, _SPEC if lookup(obj.json, _SPEC) is not None else _ALL_OF_IT)


def woken_by(seen: Observation) -> str:
    """Who scaled what the target owns behind its back, while that still asks for pods."""
    awake = (obj for obj in seen.related if (obj.spec.replicas or 0) > 0)
    return next((changed_by(obj, _REPLICAS) for obj in awake), UNKNOWN)


def _owns(entry: ManagedFields, path: str) -> bool:
    fields: Any = entry.fields_v1
    for key in keys_of(path):
        if not isinstance(fields, Mapping):
            return False
        if f"f:{key}" not in fields:
            # An atomic parent (a map or list owned whole) ends the tree early, as an empty object.
            return fields == {} and fields is not entry.fields_v1
        fields = fields[f"f:{key}"]
    return True
