from __future__ import annotations

from typing import TYPE_CHECKING

import kopf

from stanch.api.v1alpha1.hold import HELD_LABEL
from stanch.kube.resources import CRONJOBS, JOBS, NETWORKPOLICIES, PODS, WORKLOADS, Resource

if TYPE_CHECKING:
    from stanch.handlers.enqueue import Enqueue

HELD_SELECTOR = f"{HELD_LABEL}=true"
HELD = (*WORKLOADS, JOBS, CRONJOBS, PODS)
"""What is watched once it is held."""


def select(settings: kopf.OperatorSettings) -> None:
    """Let the API server filter: a cluster's other workloads never reach this process.

    An object that loses the label is reported as deleted: that, too, is an event about a held workload.
    """
    for resource in HELD:
        settings.watching.label_selectors[resource.group, resource.version, resource.plural] = HELD_SELECTOR


def register(registry: kopf.OperatorRegistry, enqueue: Enqueue) -> None:
    # Of NetworkPolicies all are watched: one that is made beside ours opens what ours cuts off.
    for resource in (*HELD, NETWORKPOLICIES):
        _register(registry, enqueue, resource)


def _register(registry: kopf.OperatorRegistry, enqueue: Enqueue, resource: Resource) -> None:
    async def workload_seen(*, namespace: str | None, name: str, **_: object) -> None:
        if namespace is not None:
            enqueue.workload(resource, namespace, name)

    kopf.on.event(
        resource.group,
        resource.version,
        resource.plural,
        id=f"held-{resource.plural}-seen",
        registry=registry,
    )(workload_seen)
