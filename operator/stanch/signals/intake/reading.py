"""Reading what signals are judged by: policies, workloads and who controls them, incidents."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import ValidationError

from stanch.actions.objects import LabelSelector, Meta
from stanch.api.v1alpha1.base import ApiModel
from stanch.kube.resources import (
    AIINCIDENTS,
    CLUSTERCONTAINMENTPOLICIES,
    CONTAINMENTPOLICIES,
    CRONJOBS,
    JOBS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    WORKLOADS,
    ObjectRef,
)
from stanch.policies.choose import parse, ref_of
from stanch.policies.match import Workload, unmet
from stanch.signals.intake.declined import refused
from stanch.signals.intake.naming import TRIGGER_LABEL, pair_labels
from stanch.signals.intake.past import Known
from stanch.signals.model import TriggerRef

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stanch.kube.client import Kube
    from stanch.kube.resources import Resource
    from stanch.policies.match import Policy
    from stanch.signals.intake.targets import Named, Naming

log = structlog.get_logger(__name__)

Json = dict[str, Any]

_CONTAINABLE = (*WORKLOADS, JOBS, CRONJOBS)
_RESOURCES = {one.kind: one for one in (*_CONTAINABLE, PODS)}
_NOT_BY_THEMSELVES = {PODS.kind, REPLICASETS.kind}
"""What another kind of controller than those known here makes anew at once."""
_MOST_OWNERS = 3
_SHOWN = 5


class _Trigger(ApiModel):
    name: str


class _PolicySpec(ApiModel):
    triggers: tuple[_Trigger, ...] = ()


class _Outline(ApiModel):
    """As much of a policy as can be read of one that is newer than this operator."""

    kind: str
    metadata: Meta
    spec: _PolicySpec

    @property
    def triggers(self) -> tuple[TriggerRef, ...]:
        ref = ref_of(self.kind, self.metadata.namespace or "", self.metadata.name)
        return tuple(TriggerRef(ref, one.name) for one in self.spec.triggers)


def _triggers_of(body: Json) -> tuple[TriggerRef, ...]:
    """Empty where not even that can be read: one policy must not keep the signals of all others waiting."""
    try:
        return _Outline.model_validate(body).triggers
    except ValidationError:
        return ()


@dataclass(frozen=True, slots=True)
class Policies:
    readable: tuple[Policy, ...]
    unreadable: tuple[TriggerRef, ...]
    """The triggers of those with something in them that this version does not know."""


@dataclass(slots=True)
class Reader:
    """Raises StanchError when something cannot be read, Declined when what was read is no target."""

    kube: Kube
    _objects: dict[ObjectRef, asyncio.Task[Json | None]] = field(default_factory=dict)
    _signalled: dict[str, asyncio.Task[list[Json]]] = field(default_factory=dict)

    async def policies(self) -> Policies:
        listed = await asyncio.gather(
            self.kube.list(CONTAINMENTPOLICIES), self.kube.list(CLUSTERCONTAINMENTPOLICIES)
        )
        readable: list[Policy] = []
        unreadable: list[TriggerRef] = []
        for body in (body for bodies in listed for body in bodies):
            try:
                readable.append(parse(body))
            except ValidationError as error:
                unreadable += _triggers_of(body)
                log.warning(
                    "a policy cannot be read, and none of its triggers fires; upgrade the operator",
                    policy=f"{body['kind']} {body['metadata']['name']}",
                    problem=str(error),
                )
        return Policies(tuple(readable), tuple(unreadable))

    async def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        body = await self._get(ObjectRef(NAMESPACES, None, namespace))
        if body is None:
            raise refused("TargetNotFound", f"there is no namespace {namespace}")
        return Meta.model_validate(body["metadata"]).labels

    async def named(self, namespace: str, naming: Naming) -> Workload:
        """The one workload that all the named objects are, or are parts of."""
        found = await asyncio.gather(*(self._root(namespace, one) for one in naming.objects))
        roots = {(root.kind, root.name): root for root in found if root is not None}
        if not roots:
            said = " and no ".join(str(one) for one in naming.objects)
            raise refused("TargetNotFound", f"there is no {said} in namespace {namespace}")
        if len(roots) > 1 or None in found:
            said = "; ".join(
                f"{named} is {root or 'not there'}" for named, root in zip(naming.objects, found, strict=True)
            )
            raise refused(
                "TargetAmbiguous",
                f"its labels name different workloads of namespace {namespace} ({said}); the rule has to set "
                "stanch_kind and stanch_name to the one that is meant",
            )
        return next(iter(roots.values()))

    async def only_selected(
        self, namespace: str, policies: Iterable[Policy], namespace_labels: Mapping[str, str]
    ) -> Workload:
        """The one workload that the policies select there, when no label names any."""
        selected = await asyncio.gather(
            *(self._selected(namespace, policy, namespace_labels) for policy in policies)
        )
        found = {(one.kind, one.name): one for each in selected for one in each}
        if len(found) != 1:
            names = sorted(str(one) for one in found.values())
            which = f"{len(names)}: {', '.join(names[:_SHOWN])}" if names else "none"
            raise refused(
                "TargetUnknown",
                f"no label names a workload, and of namespace {namespace} its policy selects not one but "
                f"{which}; the rule has to keep a label such as deployment or pod, or to set stanch_kind and "
                "stanch_name",
            )
        return next(iter(found.values()))

    async def incidents(self, namespace: str, policy: Policy, workload: Workload) -> list[Known]:
        """Of that workload by that policy, as they are now."""
        labels = LabelSelector(match_labels=pair_labels(policy, workload))
        listed = await self.kube.list(AIINCIDENTS, namespace, label_selector=labels.query())
        known = (Known.model_validate(body) for body in listed)
        return [one for one in known if one.stands_for(policy, workload)]

    async def signalled_incidents(self, namespace: str) -> list[Known]:
        """All of the namespace that signals have opened, as first read since the last one."""
        if namespace not in self._signalled:
            self._signalled[namespace] = asyncio.ensure_future(
                self.kube.list(AIINCIDENTS, namespace, label_selector=TRIGGER_LABEL)
            )
        return [Known.model_validate(body) for body in await self._signalled[namespace]]

    def opened(self, namespace: str) -> None:
        """There is another incident in that namespace from now on."""
        self._signalled.pop(namespace, None)

    async def incident(self, namespace: str, name: str) -> Known | None:
        body = await self.kube.get(ObjectRef(AIINCIDENTS, namespace, name))
        return Known.model_validate(body) if body else None

    async def _root(self, namespace: str, named: Named) -> Workload | None:
        """The object, or what controls it in the end; None when there is no such object."""
        body = await self._get(ObjectRef(_RESOURCES[named.kind], namespace, named.name))
        if body is None:
            return None
        kind, meta = named.kind, Meta.model_validate(body["metadata"])
        for _ in range(_MOST_OWNERS):
            owner = meta.controller
            resource = _RESOURCES.get(owner.kind) if owner else None
            if owner is None or resource is None:
                break
            above = await self._get(ObjectRef(resource, namespace, owner.name))
            if above is None or above["metadata"]["uid"] != owner.uid:
                raise refused("TargetNotFound", f"{owner.kind} {owner.name}, which controls {named}, is gone")
            kind, meta = owner.kind, Meta.model_validate(above["metadata"])
        if kind == PODS.kind or (kind in _NOT_BY_THEMSELVES and meta.controller is not None):
            by = f"{meta.controller.kind} {meta.controller.name}" if meta.controller else "nothing"
            raise refused(
                "TargetUnsupported",
                f"{named} is controlled by {by}, which cannot be contained; let the policy be for a workload "
                f"of a kind that can: {', '.join(one.kind for one in _CONTAINABLE)}",
            )
        return Workload(kind, meta.name, meta.labels)

    async def _selected(
        self, namespace: str, policy: Policy, namespace_labels: Mapping[str, str]
    ) -> list[Workload]:
        kinds = [one for one in _CONTAINABLE if one.kind in (policy.spec.selector.kinds or _RESOURCES)]
        listed = await asyncio.gather(*(self._free(namespace, kind, policy) for kind in kinds))
        return [one for each in listed for one in each if not unmet(policy, one, namespace_labels)]

    async def _free(self, namespace: str, resource: Resource, policy: Policy) -> list[Workload]:
        """Those that nothing else controls."""
        labels = LabelSelector(match_labels=policy.spec.selector.match_labels)
        listed = await self.kube.list(resource, namespace, label_selector=labels.query(), metadata_only=True)
        metas = (Meta.model_validate(body["metadata"]) for body in listed)
        return [Workload(resource.kind, meta.name, meta.labels) for meta in metas if meta.controller is None]

    async def _get(self, ref: ObjectRef) -> Json | None:
        """One request for all who ask; alerts of one batch are mostly about the same few workloads."""
        if ref not in self._objects:
            self._objects[ref] = asyncio.ensure_future(self.kube.get(ref))
        return await self._objects[ref]
