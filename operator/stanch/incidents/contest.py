"""Who undid what: the contests that a look at the objects shows. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.actions.attribution import UNKNOWN, changed_by, woken_by, written_by
from stanch.actions.protocol import BEHIND, Action, Ask, Judgement, Observation, Verdict
from stanch.api.v1alpha1.status import Change, ChangeType, StepState, StepStatus
from stanch.incidents.facts import Contest
from stanch.incidents.record import BEGUN, LABEL
from stanch.incidents.upkeep import Missing, missing
from stanch.plans.changes import in_place, leaves, lookup, stands
from stanch.status.text import shown

if TYPE_CHECKING:
    from datetime import datetime

    from stanch.actions.objects import Obj

_LONGEST = 1000


def slipped_through(
    entry: StepStatus, gaps: list[Missing], known: tuple[Change, ...], told: frozenset[str], now: datetime
) -> tuple[Contest, ...]:
    """Changes by others, told when the step had been applied before: each once, until it is put right.

    `told` is what was told since the step was effective last: until that is put right, only something else is
    news.
    """
    if entry.state not in BEGUN and entry.contested_at is None:
        return ()
    found = [contest for gap in gaps for contest in _of(gap, entry, known, told, now)]
    return tuple(contest for contest in found if contest.line not in told)


def _of(
    gap: Missing,
    entry: StepStatus,
    known: tuple[Change, ...],
    told: frozenset[str],
    now: datetime,
) -> list[Contest]:
    change, obj = gap.change, gap.obj
    which = f"{change.object.kind} {change.object.name}"
    if change.type is not ChangeType.UPDATE or obj is None:
        if change not in known:
            return []
        by = written_by(obj) if obj is not None else UNKNOWN
        done = {
            ChangeType.CREATE: "deleted" if obj is None else "changed",
            ChangeType.DELETE: "created again",
        }
        what = done.get(change.type, "changed")
        text = f"{what} {which}" if what != "created again" else f"created {which} again"
        return [Contest(at=now, by=by, what=text)]
    if any(line.endswith((f" created {which}", f" changed {which}")) for line in told):
        return []
    objects = [other.object for other in known]
    if any((one.kind, one.name) == (obj.resource.kind, obj.meta.name) for one in objects):
        return _edited(change, obj, which, known, now)
    return _brought(obj, which, entry, now)


def _edited(change: Change, obj: Obj, which: str, known: tuple[Change, ...], now: datetime) -> list[Contest]:
    values = [
        leaf
        for field in change.fields
        if not stands(field, obj.json)
        for leaf in leaves(field)
        if leaf.path != LABEL and (field.members or not in_place(leaf.after, lookup(obj.json, leaf.path)))
    ]
    if any(other.object.uid == obj.meta.uid for other in known):
        return [
            Contest(
                at=now,
                by=changed_by(obj, leaf.path),
                what=f"changed {which} {leaf.path} to {shown(lookup(obj.json, leaf.path))}"[:_LONGEST],
            )
            for leaf in values
        ]
    by = changed_by(obj, values[0].path) if values else UNKNOWN
    return [Contest(at=now, by=by, what=f"deleted {which} and created it again")]


def _brought(obj: Obj, which: str, entry: StepStatus, now: datetime) -> list[Contest]:
    """Nobody had to be kept from it before: a policy that opens anew, a binding, an autoscaler, a Job.

    What only Stanch wrote, another incident did beside this one.
    """
    by = written_by(obj)
    was_effective = entry.effective_at is not None or entry.contested_at is not None
    if not was_effective or by == UNKNOWN:
        return []
    born, since = obj.meta.creation_timestamp, entry.started_at
    older = born is not None and since is not None and born < since.replace(microsecond=0)
    done = "changed" if older else "created"
    return [Contest(at=now, by=by, what=f"{done} {which}")]


def came_undone(
    entry: StepStatus, seen: Observation, judgement: Judgement, now: datetime
) -> tuple[Contest, ...]:
    """What undid the effect and left our changes in place: the target deleted, or pods from elsewhere."""
    if entry.state is not StepState.EFFECTIVE or entry.reason == judgement.reason:
        return ()
    if seen.target is None:
        which = f"{entry.target.kind} {entry.target.name}"
        return (Contest(at=now, by=UNKNOWN, what=f"deleted {which}"),)
    if _undone(judgement):
        what = f"undid it: {judgement.message}"[:_LONGEST]
        return (Contest(at=now, by=woken_by(seen), what=what),)
    return ()


def unexplained(entry: StepStatus, action: Action, seen: Observation, ask: Ask) -> bool:
    """Whether what was effective is so no more although every change of ours is seen to stand."""
    effective = entry.state is StepState.EFFECTIVE
    return effective and not missing(entry.changes, action, seen, ask) and _undone(action.judge(seen, ask))


def _undone(judgement: Judgement) -> bool:
    less = judgement.verdict in {Verdict.PENDING, Verdict.INEFFECTIVE}
    return less and judgement.reason != BEHIND and not judgement.by_itself
