"""What releasing an incident would do to each object that it changed, and what it would leave alone. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stanch.actions.attribution import changed_by
from stanch.api.v1alpha1.status import Change, ChangeType, StepStatus
from stanch.incidents.record import DONE, LABEL
from stanch.plans.changes import back, leaves, lookup
from stanch.status.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from stanch.actions.objects import Obj
    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.api.v1alpha1.status import ObjectReference

_OURS = "stanch"


@dataclass(frozen=True, slots=True)
class Preview:
    """One step, as a release would undo it: a line a change, fit for a person."""

    action: str
    target: str
    gives_back: tuple[str, ...]
    keeps: tuple[str, ...]
    """What others changed since it was contained."""


def preview(incident: AIIncident, find: Callable[[ObjectReference], Obj | None]) -> tuple[Preview, ...]:
    """In the order of a release, last step first. `find` gives an object as it is now, None if it is gone."""
    return tuple(
        Preview(
            step.action,
            f"{step.target.kind} {step.target.name}",
            tuple(line for change in reversed(step.changes) for line in _back(change, find(change.object))),
            tuple(line for change in step.changes for line in _kept(step, change, find(change.object))),
        )
        for step in reversed(incident.status.steps)
        if step.changes and step.state not in DONE
    )


def _back(change: Change, obj: Obj | None) -> tuple[str, ...]:
    what = f"{change.object.kind} {change.object.name}"
    match change.type:
        case ChangeType.CREATE:
            return (f"{what} is deleted" if obj is not None else f"{what} is gone already",)
        case ChangeType.DELETE:
            return (f"{what} is there again already" if obj is not None else f"{what} is created again",)
        case ChangeType.UPDATE:
            pass
    if obj is None or obj.meta.uid != change.object.uid:
        return (f"{what} no longer exists: nothing is given back",)
    kept = back(change.fields, obj.json).kept
    return tuple(
        f"{what}: {leaf.name} {shown(lookup(obj.json, leaf.path))} → {shown(leaf.before)}"
        for field in change.fields
        if field.path not in kept
        for leaf in leaves(field)
        if leaf.path != LABEL and lookup(obj.json, leaf.path) != leaf.before
    )


def _kept(step: StepStatus, change: Change, obj: Obj | None) -> tuple[str, ...]:
    if obj is None or change.type is not ChangeType.UPDATE or obj.meta.uid != change.object.uid:
        return ()
    what = f"{change.object.kind} {change.object.name}"
    fields = tuple(
        f"{what} {path} stays {shown(lookup(obj.json, path))}, set by {changed_by(obj, path)}"
        for path in back(change.fields, obj.json).kept
        if path != LABEL
    )
    since = step.started_at
    others = sorted(
        {
            f"{what} was changed by field manager {entry.manager} at {entry.time:%Y-%m-%d %H:%M:%SZ}"
            for entry in obj.meta.managed_fields
            if entry.manager != _OURS and not entry.subresource
            if since is not None and entry.time is not None and entry.time > since
        }
    )
    return (*fields, *others)
