"""Reading what the choice of a policy needs, and no more of it than that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from stanch.actions.objects import Meta
from stanch.api.v1alpha1.incident import PolicyKind
from stanch.api.v1alpha1.policy import ClusterContainmentPolicy, ContainmentPolicy
from stanch.kube.resources import (
    CHANGEABLE,
    CLUSTERCONTAINMENTPOLICIES,
    CONTAINMENTPOLICIES,
    NAMESPACES,
    ObjectRef,
)
from stanch.policies.match import Choice, Policy, Workload, by_match, by_reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stanch.api.v1alpha1.incident import AIIncident, PolicyRef, Target
    from stanch.kube.client import Kube

Json = dict[str, Any]

KINDS: dict[str, type[Policy]] = {
    CONTAINMENTPOLICIES.kind: ContainmentPolicy,
    CLUSTERCONTAINMENTPOLICIES.kind: ClusterContainmentPolicy,
}


class _Unreadable(Exception):
    """A policy with something in it that this version does not know; its name."""


def parse(body: Json) -> Policy:
    """Raises pydantic.ValidationError when it was stored under a CRD newer than this operator."""
    return KINDS[body["kind"]].model_validate(body)


def ref_of(kind: str, namespace: str, name: str) -> ObjectRef:
    if kind == CONTAINMENTPOLICIES.kind:
        return ObjectRef(CONTAINMENTPOLICIES, namespace, name)
    return ObjectRef(CLUSTERCONTAINMENTPOLICIES, None, name)


async def choose(kube: Kube, incident: AIIncident) -> Choice:
    """The policy that the incident follows from now on. Raises StanchError when something cannot be read."""
    try:
        if incident.spec.policy_ref is not None:
            return await _referenced(kube, incident, incident.spec.policy_ref)
        if incident.spec.steps:
            return Choice()
        return await _matching(kube, incident)
    except _Unreadable as error:
        return Choice.none(
            "PolicyUnreadable",
            f"{error} has something in it that this version of the operator does not know: upgrade the "
            "operator, or name another policy in spec.policyRef",
        )


async def _referenced(kube: Kube, incident: AIIncident, ref: PolicyRef) -> Choice:
    namespace = incident.metadata.namespace
    cluster = ref.kind is PolicyKind.CLUSTER_CONTAINMENT_POLICY
    body, labels, targets = await asyncio.gather(
        kube.get(ref_of(ref.kind, namespace, ref.name)),
        _namespace_labels(kube, namespace, needed=cluster),
        _workloads(kube, incident),
    )
    policy = _readable(body) if body else None
    missing = _missing(targets)
    if policy is not None and missing is not None:
        return _no_target(missing, namespace)
    return by_reference(ref, policy, namespace, _found(targets), labels)


async def _matching(kube: Kube, incident: AIIncident) -> Choice:
    namespace = incident.metadata.namespace
    own, cluster = await asyncio.gather(
        kube.list(CONTAINMENTPOLICIES, namespace), kube.list(CLUSTERCONTAINMENTPOLICIES, None)
    )
    policies = [_readable(body) for body in (*own, *cluster)]
    if not policies:
        return Choice()
    labels, targets = await asyncio.gather(
        _namespace_labels(kube, namespace, needed=bool(cluster)), _workloads(kube, incident)
    )
    missing = _missing(targets)
    if missing is not None:
        return _no_target(missing, namespace)
    return by_match(policies, _found(targets), labels)


def _readable(body: Json) -> Policy:
    try:
        return parse(body)
    except ValidationError as error:
        raise _Unreadable(f"{body['kind']} {body['metadata']['name']}") from error


async def _namespace_labels(kube: Kube, namespace: str, *, needed: bool) -> Mapping[str, str]:
    body = await kube.get(ObjectRef(NAMESPACES, None, namespace)) if needed else None
    return Meta.model_validate(body["metadata"]).labels if body else {}


async def _workloads(kube: Kube, incident: AIIncident) -> list[tuple[Target, Workload | None]]:
    targets = incident.spec.targets
    found = await asyncio.gather(
        *(_workload(kube, incident.metadata.namespace, target) for target in targets)
    )
    return list(zip(targets, found, strict=True))


async def _workload(kube: Kube, namespace: str, target: Target) -> Workload | None:
    body = await kube.get(ObjectRef(CHANGEABLE[target.api_version, target.kind], namespace, target.name))
    return Workload(target.kind, target.name, Meta.model_validate(body["metadata"]).labels) if body else None


def _missing(targets: list[tuple[Target, Workload | None]]) -> Target | None:
    return next((target for target, workload in targets if workload is None), None)


def _found(targets: list[tuple[Target, Workload | None]]) -> list[Workload]:
    return [workload for _, workload in targets if workload is not None]


def _no_target(target: Target, namespace: str) -> Choice:
    return Choice.none(
        "TargetNotFound",
        f"{target.kind} {namespace}/{target.name}: there is no such object in the incident's namespace",
    )
