from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.kube.resources import SELFSUBJECTACCESSREVIEWS

if TYPE_CHECKING:
    from stanch.kube.client import Kube
    from stanch.kube.resources import ObjectRef


async def may(kube: Kube, verb: str, ref: ObjectRef) -> bool:
    """Whether the operator itself may. Raises StanchError."""
    attributes = {
        "verb": verb,
        "group": ref.resource.group,
        "resource": ref.resource.plural,
        "name": ref.name,
        "namespace": ref.namespace or "",
    }
    body = {
        "apiVersion": SELFSUBJECTACCESSREVIEWS.api_version,
        "kind": SELFSUBJECTACCESSREVIEWS.kind,
        "spec": {"resourceAttributes": attributes},
    }
    answer = await kube.create(SELFSUBJECTACCESSREVIEWS, None, body)
    return answer["status"].get("allowed") is True
