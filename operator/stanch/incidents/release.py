"""Deciding what giving back needs next. Pure.

The hold decides who gives back: only the last incident that holds an object restores it, and while it does,
nobody else starts containing it. Then the steps in reverse, the record, the hold, the finalizer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stanch.actions.protocol import Observation
from stanch.actions.registry import ACTIONS
from stanch.api.v1alpha1.incident import FINALIZER, AIIncident, DesiredState
from stanch.api.v1alpha1.status import (
    GIVEN_BACK,
    AIIncidentStatus,
    Change,
    ChangeType,
    Phase,
    StepState,
    StepStatus,
    UndoRecord,
)
from stanch.holds import entries as holds
from stanch.incidents.acts import Act, Decision, DropHold, GiveBackHold, RemoveFinalizer
from stanch.incidents.containment import gave_up
from stanch.incidents.facts import Facts, Item, items_of, retains
from stanch.incidents.record import BEGUN, DONE, LABEL, UNTOUCHED
from stanch.incidents.story import Told, tell
from stanch.incidents.way_back import way_back
from stanch.plans.changes import Leaf, leaves, lookup
from stanch.status.conditions import EVIDENCE_REASONS
from stanch.status.phase import Course
from stanch.status.text import shown

if TYPE_CHECKING:
    from datetime import datetime


def wanted(incident: AIIncident) -> bool:
    """On somebody's word, or because the plan failed and says `onFailure: Release`."""
    return (
        incident.metadata.deletion_timestamp is not None
        or incident.spec.desired_state is DesiredState.RELEASED
        or incident.status.phase is Phase.RELEASING
        or incident.status.phase in GIVEN_BACK
        or gave_up(incident)
    )


def unfinished(incident: AIIncident) -> bool:
    """Whether something of it may still have to be given back or taken down."""
    return FINALIZER in incident.metadata.finalizers


def decide(facts: Facts, now: datetime) -> Decision:
    """One stage at a time, so that each is recorded before the next begins."""
    facts = _with_errands(facts)
    incident = facts.incident
    if incident.status.phase is None or not _begun(incident):
        return _end(facts, tuple(_nothing_to_undo(step) for step in incident.status.steps), frozenset(), now)
    kept = _kept(facts, now)
    ours = {key: one for key, one in holds.held_by(facts.held, facts.name).items() if key not in kept}
    if any(entry.giving_back != facts.name for entry in ours.values()):
        return Decision(_status(facts, incident.status.steps, now), (GiveBackHold(facts.ghosts, kept),))
    items = {item.id: item for item in items_of(incident)}
    outcomes = [give_back(facts, items.get(step.id), step, now) for step in reversed(incident.status.steps)]
    steps = tuple(outcome.entry for outcome in reversed(outcomes))
    acts = tuple(act for outcome in outcomes for act in outcome.acts)
    if acts:
        return Decision(_status(facts, incident.status.steps, now), acts)
    # A predecessor may have ended between deleting the hold, or before writing it, and the label.
    label_left = facts.holding and not facts.held
    if ours or label_left:
        return Decision(_status(facts, steps, now), (DropHold(),))
    return _end(facts, steps, kept, now)


def _with_errands(facts: Facts) -> Facts:
    """What an errand brought back stays in the record, though the release was asked for meanwhile."""
    status = facts.incident.status
    steps = tuple(step.model_copy(update=dict(facts.errands.get(step.id, {}))) for step in status.steps)
    told = status.model_copy(update={"steps": steps})
    return replace(facts, incident=facts.incident.model_copy(update={"status": told}))


@dataclass(frozen=True, slots=True)
class Outcome:
    entry: StepStatus
    acts: tuple[Act, ...] = ()


def _begun(incident: AIIncident) -> bool:
    touched = any(step.changes or step.condemned for step in incident.status.steps)
    return FINALIZER in incident.metadata.finalizers and touched


def _kept(facts: Facts, now: datetime) -> frozenset[str]:
    """What outlasts the release; deleting the incident ends that as well."""
    if facts.incident.metadata.deletion_timestamp is not None:
        return frozenset()
    records = {step.id: step for step in facts.incident.status.steps}
    return frozenset(
        key
        for item in items_of(facts.incident)
        if item.action in ACTIONS and item.id in records
        for key in ACTIONS[item.action].keeps(facts.ask(item, records[item.id], now))
    )


def _nothing_to_undo(step: StepStatus) -> StepStatus:
    if step.state in DONE | UNTOUCHED:
        return step
    reason = step.reason if step.reason in EVIDENCE_REASONS else "NothingToGiveBack"
    return step.model_copy(update={"state": StepState.UNDONE, "reason": reason})


def give_back(facts: Facts, item: Item | None, step: StepStatus, now: datetime) -> Outcome:
    if step.state in DONE or not step.changes:
        return Outcome(_nothing_to_undo(step))
    known = item if item is not None and item.action in ACTIONS else None
    restores = known is None or _restores(facts, known, step, now)
    ways = [
        way_back(facts, step, change, restores=restores, discards=_discards(facts, known, step, change, now))
        for change in reversed(step.changes)
    ]
    acts = tuple(way.act for way in ways if way.act is not None)
    if acts:
        return Outcome(step, acts)
    kept = tuple(path for way in ways for path in way.kept)
    passed_on = [way.passed_on for way in ways if way.passed_on]
    left = f"left as others set it: {', '.join(kept)}" if kept else ""
    said = [way.told for way in ways if way.told]
    told = "; ".join(part for part in (*passed_on, *said, _restored(facts, step, restores), left) if part)
    return Outcome(
        step.model_copy(
            update={
                "state": StepState.PASSED_ON if passed_on else StepState.UNDONE,
                "reason": "StillHeld" if passed_on else "GivenBack",
                "message": told[:1000],
                "undo": UndoRecord(at=now, kept=kept[:16], message=told[:1000]),
            }
        )
    )


def _restores(facts: Facts, item: Item, step: StepStatus, now: datetime) -> bool:
    return not retains(facts.incident) and ACTIONS[item.action].restores(facts.ask(item, step, now))


def _discards(facts: Facts, item: Item | None, step: StepStatus, change: Change, now: datetime) -> bool:
    """An edited object is deleted only while the edit stands: what others made of it is theirs."""
    if item is None or retains(facts.incident) or change.type is not ChangeType.UPDATE:
        return False
    action, ask = ACTIONS[item.action], facts.ask(item, step, now)
    obj = facts.observations.get(step.id, Observation(None)).find(change.object.uid)
    return action.discards(change, ask) and (obj is None or action.stands(change, obj, ask))


def _restored(facts: Facts, step: StepStatus, restores: bool) -> str:  # noqa: FBT001
    if retains(facts.incident):
        return "left as it is (deletionPolicy Retain), no longer held"
    if not restores:
        return "left as it is, no longer held"
    seen = facts.observations.get(step.id, Observation(None))
    values = [
        (obj, leaf)
        for change in step.changes
        if (obj := seen.find(change.object.uid)) is not None
        for field in change.fields
        for leaf in leaves(field)
        if leaf.path != LABEL
    ]
    begun = step.state in BEGUN or step.contested_at is not None
    return ", ".join(
        _came_back(leaf, begun=begun)
        for obj, leaf in values
        if leaf.after != leaf.before and lookup(obj.json, leaf.path) == leaf.before
    )


def _came_back(leaf: Leaf, *, begun: bool) -> str:
    if isinstance(leaf.before, list | dict):
        return f"{leaf.name} as before"
    if not begun:
        return f"{leaf.name} {shown(leaf.before)}, as it was"
    return f"{leaf.name} {shown(leaf.after)} → {shown(leaf.before)}"


def _status(facts: Facts, steps: tuple[StepStatus, ...], now: datetime) -> AIIncidentStatus:
    return tell(
        facts,
        Told(
            steps=steps,
            plan=facts.incident.status.plan,
            course=Course(releasing=True),
            contests=facts.contests,
        ),
        now,
    )


def _end(facts: Facts, steps: tuple[StepStatus, ...], kept: frozenset[str], now: datetime) -> Decision:
    told = Told(
        steps=steps,
        plan=facts.incident.status.plan,
        course=Course(
            releasing=True,
            hold_gone=True,
            proven=facts.incident.status.proven,
            resolved=facts.incident.spec.resolution is not None,
        ),
        contests=facts.contests,
    )
    # What outlasts the release is lifted by deleting the incident: until then the finalizer stands.
    bound = FINALIZER in facts.incident.metadata.finalizers and not kept
    acts: tuple[Act, ...] = (RemoveFinalizer(),) if bound else ()
    return Decision(tell(facts, told, now), acts)
