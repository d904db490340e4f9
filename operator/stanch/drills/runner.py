"""Making the drills that are due, and deleting what has been kept long enough; again and again."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

import structlog
from pydantic import ValidationError

from stanch.drills.decide import drills_due, incident_name, incident_of, kept_enough, last_made, target_of
from stanch.errors import Conflict, Rejected, StanchError
from stanch.kube.resources import AIINCIDENTS, CLUSTERCONTAINMENTPOLICIES, CONTAINMENTPOLICIES, ObjectRef
from stanch.policies.choose import parse, ref_of
from stanch.policies.drilled import DRILL_LABEL, Drilled
from stanch.policies.selected import matched

if TYPE_CHECKING:
    from collections.abc import Callable

    from stanch.drills.decide import Due
    from stanch.kube.client import Kube
    from stanch.policies.match import Policy
    from stanch.policies.state import Matched

log = structlog.get_logger(__name__)


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Drills:
    """Only the leader makes drills; that two make one and the same is prevented by its name."""

    kube: Kube
    protected: frozenset[str]
    """Namespaces in which nothing is ever contained."""
    tell_policy: Callable[[ObjectRef], None]
    """The policy's status shows its newest exercises."""
    every: float
    """Seconds between two looks at the schedules."""
    clock: Callable[[], datetime] = _utc_now
    _given_up: set[str] = field(default_factory=set)
    """Names of incidents that could not be made; after a restart each is tried once more, while it is due."""

    async def run(self) -> NoReturn:
        while True:
            try:
                await self.look()
            except StanchError as error:
                log.warning("drills could not be looked at", reason=error.reason, message=error.message)
            await asyncio.sleep(self.every)

    async def look(self) -> None:
        """Once. Raises StanchError when policies or incidents cannot be listed."""
        policies = await self._with_drills()
        if not policies:
            return
        listed = await self.kube.list(AIINCIDENTS, label_selector=DRILL_LABEL)
        by_namespace: dict[str, list[Drilled]] = defaultdict(list)
        for one in map(Drilled.model_validate, listed):
            by_namespace[one.metadata.namespace].append(one)
        everywhere = [one for ones in by_namespace.values() for one in ones]
        for policy in policies:
            namespace = policy.metadata.namespace
            try:
                await self._one(policy, by_namespace[namespace] if namespace else everywhere)
            except StanchError as error:  # the others are made all the same
                log.warning(
                    "a drill could not be made or cleaned up",
                    policy=f"{policy.kind} {namespace}/{policy.metadata.name}",
                    reason=error.reason,
                    message=error.message,
                )

    async def _with_drills(self) -> list[Policy]:
        """One that cannot be read is told in its status."""
        policies = []
        for resource in (CONTAINMENTPOLICIES, CLUSTERCONTAINMENTPOLICIES):
            for body in await self.kube.list(resource):
                try:
                    policy = parse(body)
                except ValidationError:
                    continue
                if policy.spec.drills:
                    policies.append(policy)
        return policies

    async def _one(self, policy: Policy, drilled: list[Drilled]) -> None:
        for old in kept_enough(policy, drilled):
            ref = ObjectRef(AIINCIDENTS, old.metadata.namespace, old.metadata.name)
            # Of the version that was looked at: who makes a containment of it meanwhile keeps it.
            await self.kube.delete(ref, uid=old.metadata.uid, resource_version=old.metadata.resource_version)
            key = f"{ref.namespace}/{ref.name}"
            log.info("an exercise is kept no longer", incident=key, policy=policy.metadata.name)
        now = self.clock()
        due = [
            one
            for one in drills_due(policy, last_made(policy, drilled, now), now)
            if incident_name(policy, one.drill.name, one.at) not in self._given_up
        ]
        if not due:
            return
        selected = await matched(self.kube, policy, self.protected)
        for drill in due:
            await self._make(policy, drill, target_of(policy, drill.drill, selected))

    async def _make(self, policy: Policy, due: Due, target: Matched | None) -> None:
        """What cannot be made is left out, and said once: the next one comes. Raises Retry."""
        name = incident_name(policy, due.drill.name, due.at)
        who = {"policy": policy.metadata.name, "drill": due.drill.name, "due": due.at.isoformat()}
        if target is None:
            self._given_up.add(name)
            log.warning("a drill is left out: the policy selects no workload that it means", **who)
            return
        key = f"{target.namespace}/{name}"
        try:
            await self.kube.create(AIINCIDENTS, target.namespace, incident_of(policy, due, target))
        except Conflict as error:
            if not error.already_exists:
                raise
            self._given_up.add(name)
            log.warning("a drill is left out: its incident is there already", incident=key, **who)
            return
        except Rejected as error:
            self._given_up.add(name)
            log.warning("a drill is left out", reason=error.reason, message=error.message, **who)
            return
        log.info("a drill is made", incident=key, **who)
        self.tell_policy(ref_of(policy.kind, policy.metadata.namespace, policy.metadata.name))
