"""What giving back one recorded change takes, with what others hold or have changed in mind. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stanch.actions.protocol import Observation
from stanch.api.v1alpha1.hold import HELD_LABEL, hold_key
from stanch.api.v1alpha1.status import Change, ChangeType, FieldChange, StepStatus
from stanch.holds import entries as holds
from stanch.incidents.acts import Act, Create, Delete, Patch
from stanch.incidents.record import BEGUN, DONE, LABEL, UNTOUCHED, key_of, ref_of
from stanch.plans.changes import back, both_mean, lookup

if TYPE_CHECKING:
    from stanch.actions.objects import Obj
    from stanch.api.v1alpha1.hold import HeldEntry
    from stanch.incidents.facts import Facts


@dataclass(frozen=True, slots=True)
class Way:
    """What giving back one change takes, or what is said when it takes nothing."""

    act: Act | None = None
    kept: tuple[str, ...] = ()
    passed_on: str = ""
    told: str = ""


def way_back(facts: Facts, step: StepStatus, change: Change, *, restores: bool, discards: bool) -> Way:
    """One act at a time, until nothing is left to do. `restores` and `discards` are the action's answers."""
    namespace = facts.incident.metadata.namespace
    seen = facts.observations.get(step.id, Observation(None))
    ref = ref_of(change.object, namespace)
    what = f"{change.object.kind} {change.object.name}"
    entry = facts.held.get(hold_key(change.rule, key_of(ref, namespace)))
    if entry is not None and entry.giving_back != facts.name and set(entry.incidents) - {facts.name}:
        return _while_held(facts, step, change, seen, entry=entry, restores=restores)
    match change.type:
        case ChangeType.UPDATE if discards:
            return _undo_creation(what, seen.find(change.object.uid), restores=True)
        case ChangeType.UPDATE:
            return _undo_edit(facts, step, change, seen.find(change.object.uid), restores=restores)
        case ChangeType.CREATE:
            return _undo_creation(what, seen.named(ref), restores=restores)
        case ChangeType.DELETE:
            return _undo_deletion(facts, change, seen, restores=restores)


def _while_held(  # noqa: PLR0913 - what `_way` is told, and who holds
    facts: Facts, step: StepStatus, change: Change, seen: Observation, *, entry: HeldEntry, restores: bool
) -> Way:
    """What others still hold is theirs from now on, but for what they did beside it.

    An object that one made and others edited goes with the one that made it; of a list each takes back what
    none of the others means.
    """
    what = f"{change.object.kind} {change.object.name}"
    passed_on = f"{what} stays contained by {entry.incident}"
    theirs = _what_they_did(facts, entry, change)
    if not theirs or ChangeType.CREATE in {change.type} & {other.type for other in theirs}:
        return Way(passed_on=passed_on)
    if change.type is ChangeType.CREATE:
        made = seen.named(ref_of(change.object, facts.incident.metadata.namespace))
        return _undo_creation(what, made, restores=restores)
    if not any(field.members for field in change.fields):
        return Way(passed_on=passed_on)
    fields = [field for other in theirs for field in other.fields]
    alone = tuple(field for field in change.fields if not any(both_mean(field, one) for one in fields))
    way = _undo_edit(
        facts,
        step,
        change.model_copy(update={"fields": alone}),
        seen.find(change.object.uid),
        restores=restores,
    )
    left = any(field.members and field not in alone for field in change.fields)
    return way if way.act is not None or not left else Way(passed_on=passed_on)


def _what_they_did(facts: Facts, entry: HeldEntry, change: Change) -> list[Change]:
    """The records of the others that hold the object; empty when one of them has none, or is not known."""
    namespace = facts.incident.metadata.namespace
    ref = ref_of(change.object, namespace)
    found: list[Change] = []
    for name in entry.incidents:
        sibling = facts.siblings.get(name)
        steps = sibling.status.steps if sibling else ()
        theirs = [
            other
            for step in steps
            if step.state not in DONE
            for other in step.changes
            if ref_of(other.object, namespace) == ref
        ]
        if not theirs:
            return []
        found += theirs
    return found


def _undo_creation(what: str, obj: Obj | None, *, restores: bool) -> Way:
    if obj is None or obj.meta.deletion_timestamp is not None:
        return Way(told=f"{what} is gone")
    if restores:
        return Way(Delete(obj))
    unmark: list[dict[str, Any]] = [{"op": "remove", "path": LABEL}]
    return Way(Patch(obj, unmark) if HELD_LABEL in obj.meta.labels else None)


def _undo_deletion(facts: Facts, change: Change, seen: Observation, *, restores: bool) -> Way:
    ref = ref_of(change.object, facts.incident.metadata.namespace)
    what = f"{change.object.kind} {change.object.name}"
    if not restores:
        return Way(told=f"{what} stays deleted")
    if facts.ending:
        return Way(told=f"{what} is not made again: its namespace is being deleted")
    there = seen.named(ref) is not None
    return Way(told=f"{what} is there again") if there else Way(Create(ref, change.manifest))


def _undo_edit(facts: Facts, step: StepStatus, change: Change, obj: Obj | None, *, restores: bool) -> Way:
    what = f"{change.object.kind} {change.object.name}"
    if obj is None:
        return Way(told=f"{what} no longer exists")
    fields = _fields(facts, step, change, obj, restores=restores)
    if step.eased is not None and step.state not in BEGUN:
        fields = tuple(_whatever_stands(field, obj) for field in fields)
    undo = back(fields, obj.json)
    kept = tuple(f"{what} {path}" for path in undo.kept)
    return Way(Patch(obj, undo.ops) if undo.ops else None, kept)


def _whatever_stands(field: FieldChange, obj: Obj) -> FieldChange:
    """A stage was recorded and may not be written: a value of another one is ours as well."""
    current = lookup(obj.json, field.path)
    if field.members or isinstance(current, dict | list):
        return field
    return field.model_copy(update={"after": current, "stored": None})


def _fields(
    facts: Facts, step: StepStatus, change: Change, obj: Obj, *, restores: bool
) -> tuple[FieldChange, ...]:
    """What is to be restored; the mark that the object is held goes with the last way in which it is."""
    namespace = facts.incident.metadata.namespace
    ways = holds.holders_of(facts.held, key_of(obj.ref, namespace))
    held_otherwise = any(entry.giving_back != facts.name for entry in ways.values()) or any(
        other.object.uid == change.object.uid
        for earlier in facts.incident.status.steps
        if earlier.id != step.id and earlier.state not in DONE | UNTOUCHED
        for other in _before(facts, earlier, step)
    )
    fields: list[FieldChange] = []
    for field in change.fields:
        if field.path == LABEL or LABEL.startswith(f"{field.path}/"):
            if not held_otherwise:
                mine = FieldChange(path=LABEL, after="true") if field.before == "true" else field
                fields.append(mine)
        elif restores:
            fields.append(field)
    return tuple(fields)


def _before(facts: Facts, earlier: StepStatus, step: StepStatus) -> tuple[Change, ...]:
    """The changes of a step that is given back after this one."""
    order = [one.id for one in facts.incident.status.steps]
    return earlier.changes if order.index(earlier.id) < order.index(step.id) else ()
