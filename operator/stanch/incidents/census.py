"""How many containments there are, and since when: what guardrails count. A cache of what was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stanch.api.v1alpha1.status import CONTAINS, GIVEN_BACK
from stanch.queue import Key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from stanch.api.v1alpha1.incident import AIIncident


@dataclass(frozen=True, slots=True)
class Containment:
    """One incident by which something was changed."""

    key: Key
    begun: datetime
    policy: str = ""
    """uid of the policy whose plan it carries out; empty: a plan of its own."""
    targets: frozenset[str] = frozenset()
    """`Deployment/llm-chat`"""
    active: bool = True
    approved: bool = False
    recovered: bool = False
    took: Mapping[str, int] = field(default_factory=dict)
    """Replicas that it took away, by target."""


def containment_of(incident: AIIncident) -> Containment | None:
    """None while nothing was begun."""
    status, times = incident.status, incident.status.timestamps
    if times is None or times.begun is None:
        return None
    policy = status.plan.policy if status.plan else None
    return Containment(
        key=Key(incident.metadata.namespace, incident.metadata.name),
        begun=times.begun,
        policy=policy.uid if policy else "",
        targets=frozenset(f"{target.kind}/{target.name}" for target in incident.spec.targets),
        active=status.phase in CONTAINS,
        approved=status.approval is not None and status.approval.used_at is not None,
        recovered=status.phase in GIVEN_BACK and status.proven,
        took=_took(incident),
    )


def _took(incident: AIIncident) -> dict[str, int]:
    return {
        f"{step.target.kind}/{step.target.name}": _count(change.before) - _count(change.after)
        for step in incident.status.steps
        for one in step.changes
        if one.object.uid == step.target.uid
        for change in one.fields
        if change.path == "/spec/replicas"
    }


def _count(replicas: object) -> int:
    """Absent means 1: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#replicas."""
    return replicas if isinstance(replicas, int) else 1


@dataclass(slots=True)
class Census:
    """Only the leader writes the status of incidents, and it notes here what it is about to write.

    That two incidents decided at the same time count each other rests on it: between a decision and its note
    nothing else runs.
    """

    complete: bool = False
    """Whether it has seen every incident there was when this process began to lead."""
    _known: dict[Key, Containment] = field(default_factory=dict)
    _gone: set[Key] = field(default_factory=set)

    def note(self, incident: AIIncident) -> None:
        key = Key(incident.metadata.namespace, incident.metadata.name)
        containment = containment_of(incident)
        if containment is None:
            self._known.pop(key, None)
        else:
            self._known[key] = containment

    def forget(self, key: Key) -> None:
        self._known.pop(key, None)
        if not self.complete:
            self._gone.add(key)

    def fill(self, incidents: Iterable[AIIncident]) -> None:
        """All that the API server has; what was noted while it was being read is newer and stays."""
        for incident in incidents:
            key = Key(incident.metadata.namespace, incident.metadata.name)
            containment = containment_of(incident)
            if containment is not None and key not in self._gone:
                self._known.setdefault(key, containment)
        self.complete = True

    def containments(self) -> tuple[Containment, ...]:
        return tuple(self._known.values())
