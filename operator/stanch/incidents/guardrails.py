"""What a containment that nobody approved has to pass before its first write. Pure.

The operator's limits and the policy's hold both: what either trips, a person has to approve.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from stanch.api.schema import seconds
from stanch.api.v1alpha1.incident import Severity
from stanch.api.v1alpha1.policy import ApprovalRequired, Attempts, Storm

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from stanch.api.v1alpha1.policy import Guardrails
    from stanch.incidents.census import Containment
    from stanch.queue import Key

SEVERITIES = tuple(Severity)
"""The most severe first."""
STOPPING = frozenset({"ScaleToZero", "Isolate", "Suspend", "Quarantine"})
"""Actions that take replicas from those who are served. Another version serves as well."""


@dataclass(frozen=True, slots=True)
class Tripped:
    """One guardrail that is in the way, with the figures."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class OwnLimits:
    """The operator's, for all policies together."""

    max_concurrent: int | None = None
    storm: Storm | None = None
    attempts: Attempts | None = None
    capacity_floor: str | None = None
    approval_from: Severity | None = None
    """Plans of this severity and above need a person."""


@dataclass(frozen=True, slots=True)
class Serving:
    """Ready replicas of each workload that the policy is for: `chat/Deployment/llm-chat`."""

    ready: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """The containment in question."""

    key: Key
    policy: str
    """uid"""
    severity: Severity
    targets: frozenset[str]
    """`Deployment/llm-chat`"""
    actions: frozenset[str]


def tripped(  # noqa: PLR0913, PLR0917 - what was asked, both sets of limits, and what is counted
    asked: Asked,
    rails: Guardrails,
    limits: OwnLimits,
    others: Sequence[Containment],
    serving: Serving,
    now: datetime,
) -> tuple[Tripped, ...]:
    """Every guardrail that is in the way; empty: containment may begin by itself."""
    others = [one for one in others if one.key != asked.key]
    mine = [one for one in others if one.policy == asked.policy]
    floor = max(rails.capacity_floor, limits.capacity_floor, key=_share)
    found = (
        _approval(asked, rails),
        _approval_from(asked, limits.approval_from, "the operator"),
        _concurrent(mine, rails.max_concurrent, "of this policy"),
        _concurrent(others, limits.max_concurrent, "of all policies"),
        _storm(mine, rails.storm, "of this policy", now),
        _storm(others, limits.storm, "of all policies", now),
        _attempts(asked, mine, rails.attempts, now),
        _attempts(asked, others, limits.attempts, now),
        _capacity(asked, floor, others, serving),
    )
    return tuple(one for one in found if one is not None)


def _approval(asked: Asked, rails: Guardrails) -> Tripped | None:
    rule = rails.approval
    if rule is None or rule.required is ApprovalRequired.NEVER:
        return None
    if rule.required is ApprovalRequired.ALWAYS:
        return Tripped("ApprovalRequired", "the policy wants every plan approved")
    return _approval_from(asked, rule.severity, "the policy")


def _approval_from(asked: Asked, at: Severity | None, who: str) -> Tripped | None:
    if at is None or SEVERITIES.index(asked.severity) > SEVERITIES.index(at):
        return None
    return Tripped("ApprovalRequired", f"{who} wants plans of severity {at} and above approved")


def _concurrent(others: Iterable[Containment], most: int | None, whose: str) -> Tripped | None:
    if most is None:
        return None
    active = sum(one.active for one in others)
    if active < most:
        return None
    return Tripped(
        "MaxConcurrent", f"{active} containments {whose} stand, and at most {most} may by themselves"
    )


def _storm(others: Iterable[Containment], storm: Storm | None, whose: str, now: datetime) -> Tripped | None:
    if storm is None:
        return None
    since = now - timedelta(seconds=seconds(storm.within))
    begun = sum(one.begun > since and not one.approved for one in others)
    if begun < storm.containments:
        return None
    return Tripped(
        "StormBreaker",
        f"{begun} containments {whose} began within {storm.within}, and at most {storm.containments} may "
        "without a person",
    )


def _attempts(
    asked: Asked, mine: Iterable[Containment], attempts: Attempts | None, now: datetime
) -> Tripped | None:
    if attempts is None:
        return None
    since = now - timedelta(seconds=seconds(attempts.within))
    again = [
        one
        for one in mine
        if one.key.namespace == asked.key.namespace
        and one.targets & asked.targets
        and one.begun > since
        and not one.recovered
    ]
    if len(again) < attempts.most:
        return None
    return Tripped(
        "AttemptsExhausted",
        f"{', '.join(sorted(asked.targets))} was contained {len(again)} times within {attempts.within} "
        f"without recovery being proven, and at most {attempts.most} times may be by itself",
    )


def _capacity(
    asked: Asked, floor: str | None, others: Iterable[Containment], serving: Serving
) -> Tripped | None:
    """Of what served before any containment, the share that still would after this one."""
    if floor is None or not asked.actions & STOPPING:
        return None
    contained = {
        f"{one.key.namespace}/{target}": one.took.get(target, 0)
        for one in others
        if one.active
        for target in one.targets
    }
    mine = {f"{asked.key.namespace}/{target}" for target in asked.targets}
    whole = sum(max(ready, contained.get(name, 0)) for name, ready in serving.ready.items())
    stay = sum(ready for name, ready in serving.ready.items() if name not in mine and name not in contained)
    if whole == 0 or stay * 100 >= whole * _share(floor):
        return None
    return Tripped(
        "CapacityFloor",
        f"{stay} of {whole} replicas of the policy's workloads would still serve, and {floor} have to",
    )


def _share(floor: str | None) -> int:
    return int(floor.removesuffix("%")) if floor else 0
