"""Keeping the status of both kinds of policies true: read, compose, write when it says anything new."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from stanch.actions.objects import Meta
from stanch.api.v1alpha1.base import ApiModel
from stanch.api.v1alpha1.policy import PolicyIncident
from stanch.api.v1alpha1.status import CONTAINS, Phase
from stanch.errors import Rejected
from stanch.kube.resources import AIINCIDENTS
from stanch.policies.choose import parse, ref_of
from stanch.policies.drilled import DRILL_LABEL, Drilled
from stanch.policies.selected import matched
from stanch.policies.state import NO_NEWS, Found, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stanch.api.v1alpha1.status import AIIncidentStatus
    from stanch.kube.client import Kube
    from stanch.kube.resources import ObjectRef
    from stanch.policies.match import Policy
    from stanch.signals.board import News

Json = dict[str, Any]

ACTIVE = CONTAINS | {Phase.AWAITING_APPROVAL}


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
        selected, listed = await asyncio.gather(
            matched(self.kube, policy, self.protected),
            self.kube.list(AIINCIDENTS, policy.metadata.namespace or None),
        )
        found = Found(selected, _active_among(listed, policy), self.protected, _drilled_among(listed, policy))
        status = status_of(policy, found, self.clock(), self.news(ref))
        wire = status.wire()
        if policy.status.wire() != wire:
            await self.kube.replace_status(ref, {**body, "status": wire})


def _active_among(listed: list[Json], policy: Policy) -> tuple[PolicyIncident, ...]:
    incidents = map(_Incident.model_validate, listed)
    return tuple(active for incident in incidents if (active := _active(incident, policy)) is not None)


def _drilled_among(listed: list[Json], policy: Policy) -> tuple[Drilled, ...]:
    if not policy.spec.drills:
        return ()
    return tuple(
        Drilled.model_validate(one)
        for one in listed
        if DRILL_LABEL in Meta.model_validate(one["metadata"]).labels
    )


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
