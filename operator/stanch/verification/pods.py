"""Reading the targets and their pods, once for all checks that are looked at together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from stanch.actions.objects import Obj
from stanch.kube.resources import CHANGEABLE, CRONJOBS, DEPLOYMENTS, JOBS, PODS, REPLICASETS, ObjectRef
from stanch.verification.serving import PodSeen, Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stanch.actions.objects import Meta
    from stanch.api.v1alpha1.incident import Target
    from stanch.kube.client import Kube
    from stanch.kube.resources import Resource

Json = dict[str, Any]

_JOB_UID = "batch.kubernetes.io/controller-uid"
_BETWEEN = {DEPLOYMENTS: REPLICASETS, CRONJOBS: JOBS}
"""What stands between a workload and its pods."""


async def read(kube: Kube, namespace: str, targets: Sequence[Target]) -> tuple[Seen, ...]:
    """Raises StanchError: nothing is said on half a picture."""
    return tuple(await asyncio.gather(*(_read(kube, namespace, target) for target in targets)))


async def _read(kube: Kube, namespace: str, target: Target) -> Seen:
    """The workload first: pods are never older than what they are compared with."""
    resource = CHANGEABLE[target.api_version, target.kind]
    body = await kube.get(ObjectRef(resource, namespace, target.name))
    if body is None:
        return Seen(target, None)
    workload = Obj(resource, body)
    owners = {workload.meta.uid}
    selector = workload.spec.selector.query()
    between = _BETWEEN.get(resource)
    if between is not None:
        owners = await _controlled(kube, namespace, between, selector, workload.meta.uid)
        if between == JOBS:
            selector = f"{_JOB_UID} in ({','.join(sorted(owners))})"
    if not owners or not selector:
        return Seen(target, body)
    listed = [PodSeen(pod) for pod in await kube.list(PODS, namespace, label_selector=selector)]
    return Seen(target, body, tuple(pod for pod in listed if _controller(pod.body.metadata) in owners))


async def _controlled(kube: Kube, namespace: str, resource: Resource, selector: str, uid: str) -> set[str]:
    listed = [Obj(resource, item) for item in await kube.list(resource, namespace, label_selector=selector)]
    return {obj.meta.uid for obj in listed if _controller(obj.meta) == uid}


def _controller(meta: Meta) -> str | None:
    return meta.controller.uid if meta.controller is not None else None
