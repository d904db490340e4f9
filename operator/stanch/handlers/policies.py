from __future__ import annotations

from typing import TYPE_CHECKING

import kopf

from stanch.kube.resources import CLUSTERCONTAINMENTPOLICIES, CONTAINMENTPOLICIES, ObjectRef, Resource

if TYPE_CHECKING:
    from stanch.handlers.enqueue import Enqueue

POLICIES = (CONTAINMENTPOLICIES, CLUSTERCONTAINMENTPOLICIES)


def register(registry: kopf.OperatorRegistry, enqueue: Enqueue) -> None:
    for resource in POLICIES:
        _register(registry, enqueue, resource)


def _register(registry: kopf.OperatorRegistry, enqueue: Enqueue, resource: Resource) -> None:
    async def policy_seen(*, namespace: str | None, name: str, **_: object) -> None:
        enqueue.policy(ObjectRef(resource, namespace, name))

    kopf.on.event(
        resource.group, resource.version, resource.plural, id=f"{resource.plural}-seen", registry=registry
    )(policy_seen)
