"""What Isolate sees: the workload's pods, every NetworkPolicy of the namespace, and who enforces them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from stanch.actions.objects import LabelSelector as Query
from stanch.actions.objects import Obj, Pod
from stanch.actions.protocol import Ask, Observation
from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.hold import HELD_LABEL
from stanch.api.v1alpha1.status import Change, ChangeType
from stanch.errors import Forbidden, NotServed
from stanch.kube.resources import (
    ADMINNETWORKPOLICIES,
    CLUSTERNETWORKPOLICIES,
    DAEMONSETS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    NETWORKPOLICIES,
    PODS,
    REPLICASETS,
    STATEFULSETS,
    ObjectRef,
)
from stanch.network.facts import PodFacts
from stanch.network.models import NetworkPolicy
from stanch.network.parsing import Unreadable, name_of
from stanch.network.selectors import LabelSelector
from stanch.plans.changes import lookup

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stanch.kube.client import Kube

Json = dict[str, Any]

RESOURCES = {
    resource.kind: resource for resource in (DEPLOYMENTS, STATEFULSETS, DAEMONSETS, REPLICASETS, JOBS)
}
TIERS = {resource.kind: resource for resource in (CLUSTERNETWORKPOLICIES, ADMINNETWORKPOLICIES)}
"""Cluster-wide policies that are asked before NetworkPolicies; the newest API first."""
ISOLATION = "stanch.dev/isolation"
"""Annotation of our own policy: whose isolation it is, as `isolation_id` says."""

_ENFORCERS = {
    ("kube-system", "anetd"): "GKE Dataplane V2",
    ("kube-system", "antrea-agent"): "Antrea",
    ("kube-system", "azure-npm"): "Azure Network Policy Manager",
    ("kube-system", "calico-node"): "Calico",
    ("calico-system", "calico-node"): "Calico",
    ("kube-system", "canal"): "Canal",
    ("kube-system", "cilium"): "Cilium",
    ("kube-system", "kube-network-policies"): "kube-network-policies",
    ("kube-system", "kube-router"): "kube-router",
    ("kube-system", "weave-net"): "Weave Net",
    ("openshift-ovn-kubernetes", "ovnkube-node"): "OVN-Kubernetes",
}
"""Agents that enforce NetworkPolicies wherever they run, by namespace and name of their DaemonSet.

In namespaces of the cluster's own only: anybody may give a DaemonSet such a name elsewhere. Left out are
those that do so in some versions or settings alone (kindnet, the VPC CNI of EKS, Flannel).
"""


class _AgentStatus(ApiModel):
    desired_number_scheduled: int = 0
    number_ready: int = 0


class _Agent(ApiModel):
    status: _AgentStatus = _AgentStatus()


@dataclass(frozen=True, slots=True)
class Enforcer:
    """A known network plugin, and on how many of its nodes it is ready."""

    name: str
    ready: int
    nodes: int


@dataclass(frozen=True, slots=True)
class Tiers:
    """Cluster-wide policies: the kinds that are served, all of them, and what could not be read and why."""

    served: tuple[str, ...] = ()
    policies: tuple[Json, ...] = field(default=(), repr=False)
    unread: tuple[str, ...] = ()
    refused: str = ""
    """Why a policy of our own would not be taken; empty when it would be, or is there."""

    @property
    def newest(self) -> str:
        """The kind in which to write one; empty when none is served."""
        return self.served[0] if self.served else ""


@dataclass(frozen=True)
class Reach(Observation):
    """`related` are all NetworkPolicies of the namespace; `pods` those that the workload controls."""

    bodies: tuple[Json, ...] = field(default=(), repr=False)
    """All pods that match the workload's selector, whoever controls them."""
    enforcers: tuple[Enforcer, ...] = ()
    tiers: Tiers = Tiers()
    labels: Mapping[str, str] = field(default_factory=dict)
    """The namespace's, read when there are policies of those tiers."""

    @property
    def policies(self) -> tuple[Obj, ...]:
        return tuple(obj for obj in self.related if obj.resource == NETWORKPOLICIES)

    @property
    def tier_policies(self) -> tuple[Json, ...]:
        """All cluster-wide policies, our own as they were last seen."""
        related = [obj.json for obj in self.related if obj.resource in TIERS.values()]
        return tuple({(one["kind"], name_of(one)): one for one in (*self.tiers.policies, *related)}.values())

    @cached_property
    def standing(self) -> dict[str, LabelSelector]:
        """The isolations whose own policy stands and is held: by id, what they select."""
        return {
            policy.metadata.annotations[ISOLATION]: policy.spec.pod_selector
            for policy in self.read[0]
            if ISOLATION in policy.metadata.annotations and HELD_LABEL in policy.metadata.labels
        }

    @cached_property
    def read(self) -> tuple[tuple[NetworkPolicy, ...], tuple[Unreadable, ...]]:
        """The policies that are understood, and why the others are not."""
        understood: list[NetworkPolicy] = []
        unreadable: list[Unreadable] = []
        for obj in self.policies:
            try:
                understood.append(NetworkPolicy.parse(obj.json))
            except Unreadable as error:
                unreadable.append(error)
        return tuple(understood), tuple(unreadable)

    @cached_property
    def reachable(self) -> tuple[PodFacts, ...]:
        """The pods that match the selector and may still take part in traffic."""
        return tuple(PodFacts.parse(body) for body in self.bodies if Pod.model_validate(body).live)

    @property
    def newborn(self) -> tuple[PodFacts, ...]:
        """What the pod template says the next pod will be, but for labels that its controller adds."""
        if self.target is None:
            return ()
        template: Json = lookup(self.target.json, "/spec/template") or {}
        metadata = {
            **(template.get("metadata") or {}),
            "name": "a new pod",
            "namespace": self.target.meta.namespace,
        }
        return (PodFacts.parse({"metadata": metadata, "spec": template.get("spec") or {}}),)

    @property
    def others(self) -> tuple[str, ...]:
        """Names of pods that match the selector and are controlled by somebody else, or by nobody."""
        mine = {pod.metadata.uid for pod in self.pods}
        every = [Pod.model_validate(body) for body in self.bodies]
        return tuple(pod.metadata.name for pod in every if pod.live and pod.metadata.uid not in mine)


async def look(kube: Kube, ask: Ask) -> Reach:
    resource = RESOURCES.get(ask.target.kind)
    body = await kube.get(ObjectRef(resource, ask.namespace, ask.target.name)) if resource else None
    target = Obj(resource, body) if resource is not None and body is not None else None
    selector = selector_of(target, ask)
    if selector is None:
        return Reach(target)
    query = Query.model_validate(selector).query()
    pods, policies, owners, enforcers, tiers = await asyncio.gather(
        kube.list(PODS, ask.namespace, label_selector=query),
        kube.list(NETWORKPOLICIES, ask.namespace),
        _owners(kube, target, ask.namespace, query),
        enforcers_of(kube),
        tiers_of(kube),
    )
    read = [Pod.model_validate(item) for item in pods]
    recorded = {(change.object.kind, change.object.name) for change in ask.changes}
    own = [one for one in tiers.policies if (one["kind"], name_of(one)) in recorded]
    return Reach(
        target,
        (*(Obj(NETWORKPOLICIES, item) for item in policies), *(Obj(TIERS[one["kind"]], one) for one in own)),
        tuple(pod for pod in read if (by := pod.metadata.controller) and by.uid in owners),
        tuple(pods),
        enforcers,
        tiers,
        await labels_of(kube, ask.namespace) if tiers.policies else {},
    )


def selector_of(target: Obj | None, ask: Ask) -> Json | None:
    """The workload's, or, when it is gone, that of our own policy. None when there is none or it is empty."""
    if target is not None:
        selector: Json = lookup(target.json, "/spec/selector") or {}
    else:
        own = own_policy(ask)
        selector = lookup(own.manifest, "/spec/podSelector") if own else {}
    return selector if selector.get("matchLabels") or selector.get("matchExpressions") else None


def own_policy(ask: Ask) -> Change | None:
    """The record of the NetworkPolicy that isolates the workload, once there is one."""
    return next((change for change in _own(ask) if change.object.kind == NETWORKPOLICIES.kind), None)


def own_denial(ask: Ask) -> Change | None:
    """The record of the cluster-wide policy beside it, once there is one."""
    return next((change for change in _own(ask) if change.object.kind in TIERS), None)


def _own(ask: Ask) -> Iterator[Change]:
    made = (change for change in ask.changes if change.type is ChangeType.CREATE)
    wanted = isolation_id(ask)
    return (change for change in made if _annotations(change).get(ISOLATION) == wanted)


def isolation_id(ask: Ask) -> str:
    return f"{ask.uid}.{ask.target.kind}.{ask.target.name}"


def _annotations(change: Change) -> Json:
    return lookup(change.manifest, "/metadata/annotations") or {}


def parsed_selector(raw: Json) -> LabelSelector:
    """Raises pydantic.ValidationError."""
    return LabelSelector.model_validate(raw)


async def _owners(kube: Kube, target: Obj | None, namespace: str, query: str) -> frozenset[str]:
    """The uids that its pods name as their controller."""
    if target is None:
        return frozenset()
    if target.resource != DEPLOYMENTS:
        return frozenset({target.meta.uid})
    listed = await kube.list(REPLICASETS, namespace, label_selector=query)
    sets = [Obj(REPLICASETS, item) for item in listed]
    return frozenset(
        one.meta.uid for one in sets if one.meta.controller and one.meta.controller.uid == target.meta.uid
    )


async def enforcers_of(kube: Kube) -> tuple[Enforcer, ...]:
    """The network plugins that are known to enforce NetworkPolicies, of those that may be seen."""
    spaces = sorted({namespace for namespace, _ in _ENFORCERS if kube.scope.covers(namespace)})
    listed = await asyncio.gather(*(kube.list(DAEMONSETS, namespace) for namespace in spaces))
    found = []
    for item in (item for items in listed for item in items):
        meta = Obj(DAEMONSETS, item).meta
        name = _ENFORCERS.get((meta.namespace or "", meta.name))
        if name is not None:
            status = _Agent.model_validate(item).status
            found.append(Enforcer(name, status.number_ready, status.desired_number_scheduled))
    return tuple(found)


async def tiers_of(kube: Kube) -> Tiers:
    """What may not be read is no reason to stop: a release has to go on without it."""
    served: list[str] = []
    found: list[Json] = []
    unread: list[str] = []
    for resource in TIERS.values():
        try:
            listed = await kube.list(resource)
        except NotServed:
            continue
        except Forbidden as error:
            unread.append(error.message)
            continue
        served.append(resource.kind)
        found += listed
    return Tiers(tuple(served), tuple(found), tuple(unread))


async def labels_of(kube: Kube, namespace: str) -> dict[str, str]:
    """A namespace's."""
    body = await kube.get(ObjectRef(NAMESPACES, None, namespace))
    return dict(lookup(body or {}, "/metadata/labels") or {})
