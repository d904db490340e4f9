"""Recording what a step will change, before it is changed: the undo records of a journal entry. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stanch.actions.protocol import Ask, Edit, Intent, Make, Remove
from stanch.api.v1alpha1.hold import HELD_LABEL
from stanch.api.v1alpha1.status import (
    Change,
    ChangeType,
    FieldChange,
    ObjectReference,
    StepState,
    StepStatus,
)
from stanch.incidents.acts import TryOut
from stanch.incidents.facts import Facts, Item, as_contained
from stanch.kube.resources import CHANGEABLE, ObjectRef
from stanch.plans.changes import (
    all_in_place,
    apart,
    back,
    field_change,
    forward,
    in_place,
    lookup,
    pointer,
    same,
)

if TYPE_CHECKING:
    from stanch.actions.objects import Obj

BEGUN = {StepState.APPLIED, StepState.EFFECTIVE, StepState.INEFFECTIVE, StepState.INCONCLUSIVE}
LABEL = pointer("metadata", "labels", HELD_LABEL)
EARLIER_UNDONE, EARLIER_FAILED = "WaitsForEarlierStep", "EarlierStepFailed"
"""Reasons of an entry whose step was recorded and has not begun."""
DONE = {StepState.UNDONE, StepState.PASSED_ON}
"""Given back, or left to another incident."""
UNTOUCHED = {StepState.PLANNED, StepState.REFUSED, StepState.SKIPPED}


@dataclass(frozen=True, slots=True)
class Recorded:
    """The records that stand, or the dry runs that they wait for, or why there can be none."""

    changes: tuple[Change, ...]
    tries: tuple[TryOut, ...] = ()
    refusal: str = ""


def ref_of(reference: ObjectReference, namespace: str) -> ObjectRef:
    """Raises KeyError for a kind that this version changes no object of."""
    resource = CHANGEABLE[reference.api_version, reference.kind]
    return ObjectRef(
        resource, (reference.namespace or namespace) if resource.namespaced else None, reference.name
    )


def reference_of(ref: ObjectRef, namespace: str) -> ObjectReference:
    return ObjectReference(
        api_version=ref.resource.api_version,
        kind=ref.resource.kind,
        name=ref.name,
        namespace=ref.namespace if ref.namespace not in {None, namespace} else None,
    )


def key_of(ref: ObjectRef, namespace: str) -> str:
    """How the namespace's hold names an object: `apps/deployments/llm-chat`."""
    elsewhere = f"{ref.namespace}:" if ref.namespace not in {None, namespace} else ""
    return f"{ref.resource.key}/{elsewhere}{ref.name}"


def record(item: Item, entry: StepStatus, intents: tuple[Intent, ...], ask: Ask, facts: Facts) -> Recorded:
    """The undo records: those that stand, and new ones once their dry runs passed."""
    planned = {intent.ref for intent in intents}
    # The record of an object that was deleted and made again by that name is of no more use.
    changes = [change for change in entry.changes if ref_of(change.object, ask.namespace) not in planned]
    tries: list[TryOut] = []
    for intent in intents:
        standing = _standing(entry, intent, ask.namespace)
        older = isinstance(intent, Edit) and _inherited_fields(entry, intent, facts) is not None
        if standing is not None and not older:
            changes.append(standing)
            continue
        attempt = _attempt(item, entry, intent, ask, facts)
        if isinstance(attempt, Change):
            changes.append(attempt)
            continue
        answer = facts.preflights.get((item.id, intent.id))
        if answer is None:
            tries.append(attempt)
        elif answer.change is None:
            return Recorded(entry.changes, refusal=answer.refused)
        else:
            changes.append(answer.change)
    if not entry.changes:
        mine = {ref_of(change.object, ask.namespace) for change in changes} | planned
        changes += [
            change
            for change in ask.changes
            if change.type is not ChangeType.UPDATE and ref_of(change.object, ask.namespace) not in mine
        ]
    return Recorded(tuple(changes), tuple(tries))


def _standing(entry: StepStatus, intent: Intent, namespace: str) -> Change | None:
    for change in entry.changes:
        if ref_of(change.object, namespace) != intent.ref:
            continue
        if isinstance(intent, Make):
            return _followed(change, intent) if change.type is ChangeType.CREATE else None
        if isinstance(intent, Remove):
            # Made again by somebody: what was there first is what must come back.
            return change if change.type is ChangeType.DELETE else None
        same_object = change.object.uid == intent.obj.meta.uid
        if change.type is ChangeType.UPDATE and same_object and not outdated(entry, change, intent.obj):
            return change
    return None


def _followed(change: Change, intent: Make) -> Change:
    """The record of what was made, with what the plan makes of it today where that counts."""
    if not intent.follows:
        return change
    rest = {key: value for key, value in intent.manifest.items() if key != "metadata"}
    return change.model_copy(update={"manifest": {**change.manifest, **rest}})


def _attempt(item: Item, entry: StepStatus, intent: Intent, ask: Ask, facts: Facts) -> TryOut | Change:
    if isinstance(intent, Edit):
        obj = intent.obj
        standing = _inherited_fields(entry, intent, facts) or _made_again(entry, obj)
        fields = standing or (field_change(obj.json, LABEL, "true"), *intent.fields)
        # An object that another incident has changed already has a real way back to try;
        # otherwise the way back leads to what is there now.
        undo = back(fields, obj.json).ops if all_in_place(fields, obj.json) else same(fields, obj.json)
        return TryOut(item.id, intent, fields, forward(fields, obj.json), undo)
    if isinstance(intent, Make):
        for change in ask.changes:  # made by another incident already
            if change.type is ChangeType.CREATE and ref_of(change.object, ask.namespace) == intent.ref:
                return change
    return TryOut(item.id, intent)


def _written(entry: StepStatus) -> bool:
    return entry.state in BEGUN or entry.contested_at is not None or entry.eased is not None


def waits(entry: StepStatus) -> bool:
    """Whether the step has not begun. Before it does, an entry that says so no more is stored."""
    return entry.reason in {EARLIER_UNDONE, EARLIER_FAILED}


def outdated(entry: StepStatus, change: Change, obj: Obj) -> bool:
    """Recorded, never written, and changed by somebody since: what they set is what must come back."""
    if _written(entry) or (HELD_LABEL in obj.meta.labels and not waits(entry)):
        return False
    return any(_moved(field, lookup(obj.json, field.path)) for field in change.fields)


def _moved(field: FieldChange, current: Any) -> bool:
    if field.members:
        taken = [member for member in field.before or [] if member not in (field.after or [])]
        return any(member not in (current or []) for member in taken)
    return not in_place(field.after, current) and current != field.before


def _inherited_fields(entry: StepStatus, intent: Edit, facts: Facts) -> tuple[FieldChange, ...] | None:
    """The undo record of an incident that holds this object already: the first owns the original values.

    Who has a record of its own gives it up for that of another that came first with the write: its own may
    be older than somebody's change that the other saw. What both may do beside each other each records.
    """
    obj = intent.obj
    own = [change for change in entry.changes if change.object.uid == obj.meta.uid]
    if own and _written(entry):
        return None
    for sibling in facts.siblings.values():
        for step in sibling.status.steps:
            if step.action != entry.action or step.state in DONE or (own and not _written(step)):
                continue
            for change in as_contained(step):
                beside = apart(intent.fields, change.fields)
                if change.object.uid == obj.meta.uid and not beside and not outdated(step, change, obj):
                    return None if change in own else change.fields
    return None


def _made_again(entry: StepStatus, obj: Obj) -> tuple[FieldChange, ...] | None:
    """Made again from a copy of the contained object: the values of the first one are what must come back."""
    for change in entry.changes:
        same_name = (change.object.kind, change.object.name) == (obj.resource.kind, obj.meta.name)
        if same_name and change.fields and all_in_place(change.fields, obj.json):
            return change.fields
    return None
