"""Why an incident is rejected before anything is changed, and what to do about it. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stanch.actions.order import too_late
from stanch.actions.registry import ACTIONS
from stanch.api.v1alpha1.status import StepState
from stanch.api.v1alpha1.steps import OnFailure
from stanch.incidents.facts import BUILT_IN, INLINE, begun, settled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.api.v1alpha1.status import AIIncidentStatus
    from stanch.incidents.facts import Facts, Item, Limits
    from stanch.incidents.journal import Progress

SAME_KEY = "SameDedupKey"
_LARGEST_STATUS = 512 * 1024


@dataclass(frozen=True, slots=True)
class Rejection:
    reason: str
    message: str


def duplicate(facts: Facts) -> Rejection | None:
    if not facts.same_as:
        return None
    return Rejection(
        SAME_KEY,
        f"AIIncident {facts.same_as} was reported before under dedupKey {facts.incident.spec.dedup_key} and "
        "is open: it stands for both; to act on this one as well, create it with another dedupKey",
    )


def inadmissible(facts: Facts, items: Sequence[Item], limits: Limits) -> Rejection | None:
    protected = _protected(facts, limits)
    if protected is not None:
        return protected
    no_choice = facts.choice.refusal
    if no_choice is not None and not settled(facts.incident):
        return Rejection(no_choice.reason, no_choice.message)
    ref = facts.incident.spec.policy_ref
    if ref is not None and facts.policy is None:  # never the built-in plan in its place
        return Rejection("PolicyNotFound", f"spec.policyRef: there is no {ref.kind} {ref.name}")
    unknown = [item.id for item in items if item.action not in ACTIONS]
    if unknown:
        return Rejection(
            "UnknownStep", f"step {unknown[0]} is newer than this operator; upgrade the operator"
        )
    actions = [item.action for item in items if item.target == facts.incident.spec.targets[0]]
    twice = next((action for action in actions if actions.count(action) > 1), None)
    if twice:
        return Rejection("DuplicateStep", f"{twice} stands in {source(facts)} more than once; once is enough")
    wrong = too_late([item.step for item in items if item.target == facts.incident.spec.targets[0]])
    return Rejection("StepTooLate", wrong) if wrong else None


def _protected(facts: Facts, limits: Limits) -> Rejection | None:
    """What is never touched. What was begun is gone on with: settings are not to strand a held workload."""
    namespace = facts.incident.metadata.namespace
    if begun(facts.incident):
        return None
    if namespace in limits.protected_namespaces:
        return Rejection(
            "NamespaceProtected",
            f"namespace {namespace} is protected by the operator's settings; nothing in it is contained",
        )
    if limits.scope_label is not None:
        key, value = limits.scope_label
        if facts.namespace_labels.get(key) != value:
            return Rejection(
                "NamespaceOutOfScope",
                f"namespace {namespace} is not in the operator's scope: it lacks label {key}={value}; label "
                "it, and create the incident again",
            )
    for target in (seen.target for seen in facts.observations.values() if seen.target is not None):
        found = next((one for one in target.meta.labels.items() if one in limits.protected_labels), None)
        if found is not None:
            return Rejection(
                "WorkloadProtected",
                f"{target.resource.kind} {namespace}/{target.meta.name} carries label {found[0]}={found[1]}, "
                "which the operator's settings protect; nothing was changed",
            )
    return None


def refusal(facts: Facts, items: Sequence[Item], progress: Sequence[Progress]) -> Rejection | None:
    """A refused step that the plan does not go on without, before anything was written."""
    if any(entry.changes for entry in facts.incident.status.steps):
        return None
    refused = [
        (item, step.entry)
        for item, step in zip(items, progress, strict=True)
        if step.entry.state is StepState.REFUSED
    ]
    needed = [
        (item, entry)
        for item, entry in refused
        if not entry.optional and item.step.on_failure is not OnFailure.CONTINUE
    ]
    essential = [item for item in items if ACTIONS[item.action].essential] or items
    nothing_left = {item.id for item in essential} <= {item.id for item, _ in refused}
    if not needed and not nothing_left:
        return None
    item, entry = (needed or refused)[0]
    return Rejection(
        entry.reason,
        f"{entry.action} of {item.target.kind} {facts.incident.metadata.namespace}/{item.target.name}: "
        f"{entry.message}",
    )


def too_large(incident: AIIncident, told: AIIncidentStatus) -> Rejection | None:
    """Before anything is written: what the record takes, and a half more for what will be told in it."""
    size = len(json.dumps(told.wire(), ensure_ascii=False).encode())
    if incident.status.steps or size <= _LARGEST_STATUS * 2 // 3:
        return None
    return Rejection(
        "PlanTooLarge",
        f"the undo records of this plan take {size // 1024} KiB, and with what will be told of it more "
        f"than the {_LARGEST_STATUS // 1024} KiB that a status may have; name fewer targets in one incident",
    )


def source(facts: Facts) -> str:
    policy = facts.policy
    if facts.incident.spec.steps:
        return INLINE
    return f"{policy} generation {policy.generation}" if policy is not None else BUILT_IN
