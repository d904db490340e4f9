"""Keeping the status of both kinds of policies true: read, compose, write when it says anything new."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from stanch.actions.objects import Meta
from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.policy import ClusterContainmentPolicy, PolicyIncident
from stanch.api.v1alpha1.status import Phase
from stanch.errors import Rejected
from stanch.kube.resources import (
    AIINCIDENTS,
    CRONJOBS,
    JOBS,
    NAMESPACES,
    WORKLOADS,
    ObjectRef,
)
from stanch.policies.choose import parse, ref_of
from stanch.policies.state import NO_NEWS, Found, Matched, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from stanch.api.v1alpha1.status import AIIncidentStatus
    from stanch.kube.client import Kube
    from stanch.kube.resources import Resource
    from stanch.policies.match import Policy
    from stanch.signals.board import News

Json = dict[str, Any]

ACTIVE = {
    Phase.AWAITING_APPROVAL,
    Phase.CONTAINING,
    Phase.CONTAINED,
    Phase.PARTIALLY_CONTAINED,
    Phase.CONTAINMENT_FAILED,
    Phase.RELEASING,
}


class _Followed(ApiModel):
    kind: str
    name: str
    uid: str
    generation: int


class _Plan(ApiModel):
    policy: _Followed | None = None


class _Status(ApiModel):
    phase: Phase | None = None
    plan: _Plan | None = None


class _Incident(ApiModel):
    """As much of an AIIncident as tells whose plan it carries out."""

    metadata: Meta
    status: _Status = _Status()


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _no_news(_policy: ObjectRef) -> Mapping[str, News]:
    return NO_NEWS


@dataclass(frozen=True, slots=True)
class PolicyReconciler:
    kube: Kube
    protected: frozenset[str]
    """Namespaces in which nothing is ever contained."""
    clock: Callable[[], datetime] = _utc_now
    news: Callable[[ObjectRef], Mapping[str, News]] = _no_news
    """What is known of a policy's triggers, by their names: `Board.of`."""

    async def reconcile(self, ref: ObjectRef) -> None:
        """Raises StanchError; the queue retries."""
        body = await self.kube.get(ref)
        if body is None:
            return
        try:
            policy = parse(body)
        except ValidationError as error:
            raise Rejected(
                "PolicyUnreadable", f"{ref} has something in it that this version does not know: {error}"
            ) from error
        workloads, incidents = await asyncio.gather(self._workloads(policy), self._incidents(policy))
        status = status_of(policy, Found(workloads, incidents, self.protected), self.clock(), self.news(ref))
        wire = status.wire()
        if policy.status.wire() != wire:
            await self.kube.replace_status(ref, {**body, "status": wire})

    async def _workloads(self, policy: Policy) -> frozenset[Matched]:
        """Those that an incident can name: controlled by nothing else, in a namespace not protected."""
        selector = policy.spec.selector
        labels = _query(selector.match_labels)
        namespaces = await self._namespaces(policy)
        kinds = [
            resource
            for resource in (*WORKLOADS, JOBS, CRONJOBS)
            if not selector.kinds or resource.kind in selector.kinds
        ]
        within = policy.metadata.namespace or None
        listed = await asyncio.gather(
            *(self.kube.list(kind, within, label_selector=labels, metadata_only=True) for kind in kinds)
        )
        return frozenset(
            matched
            for kind, items in zip(kinds, listed, strict=True)
            for matched in _free(kind, items)
            if matched.namespace not in self.protected
            and (namespaces is None or matched.namespace in namespaces)
        )

    async def _namespaces(self, policy: Policy) -> frozenset[str] | None:
        """Those that a cluster policy is for; None: all."""
        selector = (
            policy.spec.selector.namespace_selector if isinstance(policy, ClusterContainmentPolicy) else None
        )
        if selector is None or not selector.match_labels:
            return None
        found = await self.kube.list(
            NAMESPACES, None, label_selector=_query(selector.match_labels), metadata_only=True
        )
        return frozenset(Meta.model_validate(item["metadata"]).name for item in found)

    async def _incidents(self, policy: Policy) -> tuple[PolicyIncident, ...]:
        listed = await self.kube.list(AIINCIDENTS, policy.metadata.namespace or None)
        return tuple(
            active
            for incident in map(_Incident.model_validate, listed)
            if (active := _active(incident, policy)) is not None
        )


def _query(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _free(resource: Resource, items: Iterable[Json]) -> Iterable[Matched]:
    for item in items:
        meta = Meta.model_validate(item["metadata"])
        if meta.controller is None:
            yield Matched(meta.namespace or "", resource.kind, meta.name)


def _active(incident: _Incident, policy: Policy) -> PolicyIncident | None:
    status = incident.status
    followed = status.plan.policy if status.plan else None
    if status.phase not in ACTIVE or followed is None:
        return None
    if (followed.kind, followed.name) != (policy.kind, policy.metadata.name):
        return None
    return PolicyIncident(
        namespace=incident.metadata.namespace or "",
        name=incident.metadata.name,
        phase=status.phase,
        generation=followed.generation,
        replaced=True if followed.uid != policy.metadata.uid else None,
    )


def concerned(namespace: str, old: AIIncidentStatus, new: AIIncidentStatus) -> ObjectRef | None:
    """The policy whose active incidents are others by this change of an incident's status."""
    followed = new.plan.policy if new.plan else None
    if followed is None or old.phase == new.phase or not {old.phase, new.phase} & ACTIVE:
        return None
    return ref_of(followed.kind, namespace, followed.name)
