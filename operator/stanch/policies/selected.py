"""Reading what a policy's selector selects."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from stanch.actions.objects import Meta
from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.policy import ClusterContainmentPolicy
from stanch.kube.resources import CRONJOBS, JOBS, NAMESPACES, WORKLOADS, Resource
from stanch.policies.state import Matched

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stanch.kube.client import Kube
    from stanch.policies.match import Policy

Json = dict[str, Any]


class _Status(ApiModel):
    ready_replicas: int = 0
    number_ready: int = 0
    """A DaemonSet's."""


class _Serving(ApiModel):
    metadata: Meta
    status: _Status = _Status()


async def workloads(kube: Kube, policy: Policy) -> list[tuple[Resource, Json]]:
    """The metadata of all of them, whoever controls them and whether or not their namespace is protected."""
    return await _list(kube, policy, (*WORKLOADS, JOBS, CRONJOBS), metadata_only=True)


async def matched(kube: Kube, policy: Policy, protected: frozenset[str]) -> frozenset[Matched]:
    """Those that an incident can name: controlled by nothing else, in a namespace that is not protected."""
    found = [
        (resource, Meta.model_validate(item["metadata"])) for resource, item in await workloads(kube, policy)
    ]
    return frozenset(
        Matched(meta.namespace or "", resource.kind, meta.name)
        for resource, meta in found
        if meta.controller is None and meta.namespace not in protected
    )


async def serving(kube: Kube, policy: Policy) -> dict[str, int]:
    """Ready replicas of each workload that runs until it is stopped: `chat/Deployment/llm-chat`."""
    found = [
        (resource, _Serving.model_validate(item))
        for resource, item in await _list(kube, policy, WORKLOADS, metadata_only=False)
    ]
    return {
        f"{one.metadata.namespace}/{resource.kind}/{one.metadata.name}": max(
            one.status.ready_replicas, one.status.number_ready
        )
        for resource, one in found
        if one.metadata.controller is None
    }


async def _list(
    kube: Kube, policy: Policy, of: tuple[Resource, ...], *, metadata_only: bool
) -> list[tuple[Resource, Json]]:
    selector = policy.spec.selector
    namespaces = await _namespaces(kube, policy)
    kinds = [resource for resource in of if not selector.kinds or resource.kind in selector.kinds]
    labels, within = _query(selector.match_labels), policy.metadata.namespace or None
    listed = await asyncio.gather(
        *(kube.list(kind, within, label_selector=labels, metadata_only=metadata_only) for kind in kinds)
    )
    return [
        (kind, item)
        for kind, items in zip(kinds, listed, strict=True)
        for item in items
        if namespaces is None or item["metadata"]["namespace"] in namespaces
    ]


async def _namespaces(kube: Kube, policy: Policy) -> frozenset[str] | None:
    """Those that a cluster policy is for; None: all."""
    selector = (
        policy.spec.selector.namespace_selector if isinstance(policy, ClusterContainmentPolicy) else None
    )
    if selector is None or not selector.match_labels:
        return None
    query = _query(selector.match_labels)
    found = await kube.list(NAMESPACES, None, label_selector=query, metadata_only=True)
    return frozenset(Meta.model_validate(item["metadata"]).name for item in found)


def _query(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
