"""Whether an incident is given back, and how: at once or proven stage by stage. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING

from stanch.api.schema import seconds
from stanch.api.v1alpha1.hold import Rule, hold_key
from stanch.api.v1alpha1.incident import AIIncident, DesiredState
from stanch.api.v1alpha1.recovery import ReleaseMode, ReleaseRule, ReleaseStage, Verification
from stanch.api.v1alpha1.status import GIVEN_BACK, Phase
from stanch.holds import entries as holds
from stanch.incidents.containment import gave_up
from stanch.incidents.facts import as_contained
from stanch.incidents.record import DONE, key_of, ref_of

if TYPE_CHECKING:
    from stanch.api.v1alpha1.hold import HeldEntry
    from stanch.api.v1alpha1.status import AIIncidentStatus
    from stanch.incidents.facts import Facts

UNDER_WAY = frozenset({ReleaseStage.PROBATION, ReleaseStage.FULL})
_CONDEMNED = hold_key(Rule.CONDEMNED, "")
"""A version that several condemn is no object that several contain."""


class Way(Enum):
    """What is to become of an incident now."""

    STAY = auto()
    STAGED = auto()
    AT_ONCE = auto()


def way_of(incident: AIIncident, now: datetime) -> Way:
    """A person's word, a policy's turn, or neither. What proof is asked for is given back by stages.

    A change of mind before anything was contained needs no proof: there was nothing to recover from. Nor does
    deleting the incident, which needs the verb `release` as well.
    """
    standing = incident.status.release
    asked = incident.spec.desired_state is DesiredState.RELEASED
    if _needs_no_proof(incident):
        return Way.AT_ONCE
    if under_way(incident):
        return Way.STAGED
    if asked and (standing is None or standing.generation != incident.metadata.generation):
        return Way.STAGED if rules_of(incident) is not None and _was_contained(incident) else Way.AT_ONCE
    due = tries_at(incident)
    return Way.STAGED if due is not None and due <= now else Way.STAY


def _needs_no_proof(incident: AIIncident) -> bool:
    """Given back already, or to be without more ado."""
    status, spec = incident.status, incident.spec
    return (
        incident.metadata.deletion_timestamp is not None
        or status.phase in GIVEN_BACK
        or (status.phase is Phase.RELEASING and not under_way(incident))
        or (spec.skip_verification and spec.desired_state is DesiredState.RELEASED)
        or (status.release is None and gave_up(incident))
    )


def under_way(incident: AIIncident) -> bool:
    return looked_at(incident.status)


def looked_at(status: AIIncidentStatus) -> bool:
    """Whether checks of a stage are looked at."""
    return status.release is not None and status.release.stage in UNDER_WAY


def rules_of(incident: AIIncident) -> Verification | None:
    """What has to be shown: as the policy had it when the plan was made."""
    plan = incident.status.plan
    return plan.policy.verification if plan is not None and plan.policy is not None else None


def release_rule(incident: AIIncident) -> ReleaseRule:
    plan = incident.status.plan
    return (plan.policy.release if plan is not None and plan.policy is not None else None) or ReleaseRule()


def tries_at(incident: AIIncident) -> datetime | None:
    """When the policy tries to release by itself; None when it does not, or no more."""
    status, rule = incident.status, release_rule(incident)
    by_itself = rule.mode is ReleaseMode.AUTOMATIC and incident.spec.release_mode is not ReleaseMode.MANUAL
    if not by_itself or rules_of(incident) is None or status.phase is not Phase.CONTAINED:
        return None
    tried = status.release.attempt if status.release is not None else 0
    since = status.release.since if status.release is not None else _contained_at(incident)
    if since is None or tried >= rule.attempts:
        return None
    return since + timedelta(seconds=seconds(rule.after) * (1 << tried))


def alone(facts: Facts, way: Way) -> Way:
    """The way of one that others contain as well.

    What another holds in the same way is given back by that one: all of it at once, since nothing comes back.
    What is not wholly another's could not be proven while others contain the rest: that release fails, and a
    policy does not begin one.
    """
    if way is not Way.STAGED or under_way(facts.incident):
        return way
    if facts.incident.spec.desired_state is not DesiredState.RELEASED:
        return Way.STAY if also_contained_by(facts) else way
    return Way.AT_ONCE if _passes_on(facts) else way


def also_contained_by(facts: Facts) -> str:
    """Another incident that holds, in whatever way, an object that this one holds; empty when none does."""
    held = {key: entry for key, entry in facts.held.items() if not key.startswith(_CONDEMNED)}
    ours = holds.objects(holds.held_by(held, facts.name))
    return min(
        (
            name
            for key, entry in held.items()
            if holds.objects((key,)) <= ours
            for name in _others(facts, entry)
        ),
        default="",
    )


def _passes_on(facts: Facts) -> bool:
    """Whether all that it would give back is held by another one in the same way."""
    namespace = facts.incident.metadata.namespace
    ours = {
        hold_key(change.rule, key_of(ref_of(change.object, namespace), namespace))
        for step in facts.incident.status.steps
        if step.state not in DONE
        for change in as_contained(step)
    }
    return bool(ours) and all(key in facts.held and _others(facts, facts.held[key]) for key in ours)


def _others(facts: Facts, entry: HeldEntry) -> frozenset[str]:
    return frozenset(entry.incidents) - {facts.name} - facts.ghosts


def _was_contained(incident: AIIncident) -> bool:
    return _contained_at(incident) is not None


def _contained_at(incident: AIIncident) -> datetime | None:
    times = incident.status.timestamps
    return times.contained if times is not None else None
