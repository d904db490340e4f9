"""What Quarantine sees: the pods that are named, and all that selects pods in their namespace."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stanch.actions.isolation_seen import Enforcer, Tiers, enforcers_of, labels_of, tiers_of
from stanch.actions.objects import Obj, Pod
from stanch.actions.protocol import Ask, Observation
from stanch.actions.quarantine_cut import Claim
from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.status import ChangeType
from stanch.kube.resources import (
    DAEMONSETS,
    DEPLOYMENTS,
    ENDPOINTSLICES,
    JOBS,
    NETWORKPOLICIES,
    PODS,
    REPLICASETS,
    SERVICES,
    STATEFULSETS,
    ObjectRef,
)
from stanch.network.facts import PodFacts
from stanch.network.models import NetworkPolicy
from stanch.network.parsing import Named, Unreadable, name_of, understand
from stanch.network.selectors import LabelSelector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from stanch.kube.client import Kube
    from stanch.kube.resources import Resource

Json = dict[str, Any]

RESOURCES = {resource.kind: resource for resource in (DEPLOYMENTS, STATEFULSETS, DAEMONSETS, REPLICASETS)}
_ADOPTING = (REPLICASETS, STATEFULSETS, DAEMONSETS)


class _Controlling(ApiModel):
    selector: LabelSelector
    manual_selector: bool = False


class _Controller(Named):
    spec: _Controlling


class _Selecting(ApiModel):
    selector: dict[str, str] = Field(default_factory=dict)


class _Service(Named):
    spec: _Selecting = Field(default_factory=_Selecting)


class _TargetRef(ApiModel):
    kind: str = ""
    name: str = ""


class _Endpoint(ApiModel):
    addresses: tuple[str, ...] = ()
    target_ref: _TargetRef = Field(default_factory=_TargetRef)


class _Port(ApiModel):
    host_port: int = 0


class _Container(ApiModel):
    ports: tuple[_Port, ...] = ()


class _Spec(ApiModel):
    containers: tuple[_Container, ...] = ()


class _Body(ApiModel):
    spec: _Spec = Field(default_factory=_Spec)


class EndpointSlice(Named):
    endpoints: tuple[_Endpoint, ...] | None = None
    """The API server stores null where there are none."""

    def lists(self, pod: PodFacts) -> bool:
        addresses = {str(ip) for ip in pod.ips}
        return any(
            (one.target_ref.kind, one.target_ref.name) == ("Pod", pod.name)
            or not addresses.isdisjoint(one.addresses)
            for one in self.endpoints or ()
        )


@dataclass(frozen=True)
class Ward(Observation):
    """`related` are the pods that are named or recorded, and all NetworkPolicies of the namespace."""

    owners: frozenset[str] = frozenset()
    """Uids of what controls the target's pods."""
    controllers: tuple[Claim, ...] = ()
    """What adopts a pod that it selects and that nobody owns."""
    services: tuple[Claim, ...] = ()
    unread: tuple[Unreadable, ...] = ()
    """Why the selectors of other controllers and Services are not understood."""
    slices: tuple[EndpointSlice, ...] = ()
    enforcers: tuple[Enforcer, ...] = ()
    tiers: Tiers = field(default_factory=Tiers)
    labels: Mapping[str, str] = field(default_factory=dict)
    """The namespace's, read when there are policies of those tiers."""

    @cached_property
    def policies(self) -> tuple[tuple[NetworkPolicy, ...], tuple[Unreadable, ...]]:
        """Those that are understood, and why the others are not."""
        understood: list[NetworkPolicy] = []
        unreadable: list[Unreadable] = []
        for obj in self.related:
            if obj.resource == NETWORKPOLICIES:
                try:
                    understood.append(NetworkPolicy.parse(obj.json))
                except Unreadable as error:
                    unreadable.append(error)
        return tuple(understood), tuple(unreadable)


@dataclass(frozen=True)
class Patient:
    """One pod under quarantine, as it is now."""

    obj: Obj
    pod: Pod
    facts: PodFacts

    @classmethod
    def of(cls, obj: Obj) -> Patient:
        return cls(obj, Pod.model_validate(obj.json), PodFacts.parse(obj.json))

    @property
    def name(self) -> str:
        return self.obj.meta.name

    @property
    def host_ports(self) -> tuple[int, ...]:
        """Of its node, which no other pod there gets while it lives."""
        containers = _Body.model_validate(self.obj.json).spec.containers
        return tuple(sorted({port.host_port for one in containers for port in one.ports if port.host_port}))


async def look(kube: Kube, ask: Ask, names: Iterable[str]) -> Ward:
    resource = RESOURCES.get(ask.target.kind)
    if resource is None:
        return Ward(None)
    wanted = dict.fromkeys((*names, *(change.object.name for change in _pods_of(ask))))
    body, pods, policies, services, slices, listed = await asyncio.gather(
        kube.get(ObjectRef(resource, ask.namespace, ask.target.name)),
        asyncio.gather(*(kube.get(ObjectRef(PODS, ask.namespace, name)) for name in wanted)),
        kube.list(NETWORKPOLICIES, ask.namespace),
        kube.list(SERVICES, ask.namespace),
        kube.list(ENDPOINTSLICES, ask.namespace),
        asyncio.gather(*(kube.list(each, ask.namespace) for each in (*_ADOPTING, JOBS))),
    )
    enforcers, tiers = await asyncio.gather(enforcers_of(kube), tiers_of(kube))
    controllers, odd = _claims((item for items in listed for item in items), _controller)
    selecting, odder = _claims(services, _service)
    return Ward(
        Obj(resource, body) if body is not None else None,
        (
            *(Obj(PODS, pod) for pod in pods if pod is not None),
            *(Obj(NETWORKPOLICIES, policy) for policy in policies),
        ),
        owners=_owners(resource, body, listed[0]),
        controllers=controllers,
        services=selecting,
        unread=(*odd, *odder),
        slices=tuple(EndpointSlice.model_validate(item) for item in slices),
        enforcers=enforcers,
        tiers=tiers,
        labels=await labels_of(kube, ask.namespace) if tiers.policies else {},
    )


def _pods_of(ask: Ask) -> list[Any]:
    return [
        change
        for change in ask.changes
        if change.type is ChangeType.UPDATE and change.object.kind == PODS.kind
    ]


def _owners(resource: Resource, body: Json | None, replica_sets: Sequence[Json]) -> frozenset[str]:
    if body is None:
        return frozenset()
    uid = body["metadata"]["uid"]
    if resource != DEPLOYMENTS:
        return frozenset({uid})
    found = (Obj(REPLICASETS, item).meta for item in replica_sets)
    return frozenset(meta.uid for meta in found if meta.controller and meta.controller.uid == uid)


def _claims(
    items: Iterable[Json], claim_of: Callable[[Json], Claim | None]
) -> tuple[tuple[Claim, ...], tuple[Unreadable, ...]]:
    """What selects pods, and what is not understood, so that whom it selects is not known."""
    claims: list[Claim] = []
    unread: list[Unreadable] = []
    for item in items:
        try:
            claim = claim_of(item)
        except Unreadable as error:
            unread.append(error)
        else:
            claims += [claim] if claim else []
    return tuple(claims), tuple(unread)


def _controller(item: Json) -> Claim | None:
    """Of Jobs only those that select by hand: others select by a label with their own uid."""
    found = understand(_Controller, item, f"{item['kind']} {name_of(item)}")
    if item["kind"] == JOBS.kind and not found.spec.manual_selector:
        return None
    return Claim(item["kind"], found.metadata.name, found.spec.selector)


def _service(item: Json) -> Claim | None:
    """One without a selector selects nothing."""
    found = understand(_Service, item, f"Service {name_of(item)}")
    if not found.spec.selector:
        return None
    return Claim("Service", found.metadata.name, LabelSelector(match_labels=found.spec.selector))
