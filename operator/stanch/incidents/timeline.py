"""What happened to an incident, entry by entry: what others are told, and what the record is made of. Pure.

Two statuses that follow each other show all of it but for contests and alerts, which are told one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stanch.api.v1alpha1.incident import DesiredState
from stanch.api.v1alpha1.recovery import ReleaseStage
from stanch.api.v1alpha1.status import AskedBy, CheckOutcome, Phase, StepState, TimelineEntry
from stanch.status import conditions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.api.v1alpha1.status import AIIncidentStatus, Condition, StepStatus
    from stanch.incidents.facts import Contest

MOST = 100
RELEASED_BY = "stanch.dev/released-by"
"""Stamped by the API server when somebody asks for the release (manifests/stamps)."""
STANCH = "stanch"
NOT_RECORDED = "not recorded"
"""Somebody, and no stamp says who."""

PLANNED, GUARDRAIL, APPROVED, VOID = "Planned", "GuardrailTripped", "Approved", "ApprovalVoid"
HELD, NOT_HELD, REFUSED = "Held", "NotHeld", "Refused"
DENIED, SLIPPED_THROUGH = "Denied", "SlippedThrough"
"""Reasons of a contest: admission let it pass, or did not."""

_POLICY_MISSING = "AdmissionPolicyMissing"
_LONGEST = 1024
_LONGEST_ACTOR = 253
_TOLD_BY = {
    Phase.AWAITING_APPROVAL: conditions.GUARDRAILS_PASSED,
    Phase.CONTAINING: conditions.CONTAINED,
    Phase.CONTAINED: conditions.CONTAINED,
    Phase.PARTIALLY_CONTAINED: conditions.CONTAINED,
    Phase.CONTAINMENT_FAILED: conditions.CONTAINED,
    Phase.REJECTED: conditions.ACCEPTED,
    Phase.DUPLICATE: conditions.ACCEPTED,
    Phase.RELEASING: conditions.RELEASED,
    Phase.RELEASED: conditions.RELEASED,
    Phase.RECOVERED: conditions.RELEASED,
}


@dataclass(frozen=True, slots=True)
class Heard:
    """What no status shows: entries about alerts, attempts that admission denied, and those it did not."""

    signals: tuple[TimelineEntry, ...] = ()
    denied: tuple[Contest, ...] = ()
    contests: tuple[Contest, ...] = ()
    """All of them, `denied` among them."""


def extended(
    incident: AIIncident, new: AIIncidentStatus, heard: Heard, now: datetime
) -> tuple[TimelineEntry, ...]:
    """The newest hundred entries, those included that the step from `incident.status` to `new` adds."""
    old = incident.status
    entries = [
        *heard.signals,
        *_plan(old, new, now),
        *_gate(incident, old, new, now),
        *_contests(heard),
        *_steps(old.steps, new.steps, now),
        *_held(old, new, now),
        *_verification(old, new, now),
        *_stage(incident, old, new, now),
        *_phase(incident, old, new, now),
    ]
    return numbered(old, entries)


def numbered(old: AIIncidentStatus, entries: Sequence[TimelineEntry]) -> tuple[TimelineEntry, ...]:
    """Each entry counted on from the last one that there ever was, whether or not it still stands.

    The newest entry always stands. Entries of before there were numbers get theirs now.
    """
    standing = old.timeline
    if any(entry.seq == 0 for entry in standing):
        standing = _counted(standing, 0)
    last = max((*(entry.seq for entry in standing), *(one.through for one in old.deliveries)), default=0)
    return (*standing, *_counted(entries, last))[-MOST:]


def _counted(entries: Sequence[TimelineEntry], last: int) -> tuple[TimelineEntry, ...]:
    return tuple(entry.model_copy(update={"seq": seq}) for seq, entry in enumerate(entries, start=last + 1))


def _entry(at: datetime, type_: str, reason: str, message: str, actor: str = STANCH) -> TimelineEntry:
    return TimelineEntry(
        at=at, type=type_, reason=reason, actor=actor[:_LONGEST_ACTOR] or STANCH, message=message[:_LONGEST]
    )


def _plan(old: AIIncidentStatus, new: AIIncidentStatus, now: datetime) -> Iterator[TimelineEntry]:
    if new.plan is None or (old.plan is not None and old.plan.hash == new.plan.hash):
        return
    count = len(new.plan.steps)
    yield _entry(
        now,
        PLANNED,
        "PlanMade" if old.plan is None else "PlanChanged",
        f"plan {new.plan.hash} ({new.plan.source}): {count} step{'' if count == 1 else 's'}",
    )


def _gate(
    incident: AIIncident, old: AIIncidentStatus, new: AIIncidentStatus, now: datetime
) -> Iterator[TimelineEntry]:
    tripped = _news(old, new, conditions.GUARDRAILS_PASSED)
    if tripped is not None and tripped.status == "False":
        yield _entry(now, GUARDRAIL, tripped.reason, tripped.message)
    word = _news(old, new, conditions.APPROVED)
    if word is None or word.reason in {conditions.AWAITING_APPROVAL, conditions.APPROVAL_REQUIRED}:
        return
    given = new.approval or incident.spec.approval
    type_ = APPROVED if word.status == "True" else VOID
    yield _entry(now, type_, word.reason, word.message, given.by if given is not None else STANCH)


def _news(old: AIIncidentStatus, new: AIIncidentStatus, type_: str) -> Condition | None:
    """The condition, where its status or its reason is another: messages alone may change with every look."""
    said, before = conditions.find(new.conditions, type_), conditions.find(old.conditions, type_)
    if said is None or (before is not None and (before.status, before.reason) == (said.status, said.reason)):
        return None
    return said


def _contests(heard: Heard) -> Iterator[TimelineEntry]:
    for contest in heard.contests:
        reason = DENIED if contest in heard.denied else SLIPPED_THROUGH
        yield _entry(contest.at, conditions.CONTESTED, reason, contest.line, contest.by)


def _steps(
    old: tuple[StepStatus, ...], new: tuple[StepStatus, ...], now: datetime
) -> Iterator[TimelineEntry]:
    before = {step.id: step for step in old}
    for step in new:
        was = before.get(step.id)
        written = step.applied_at is not None and (was is None or was.applied_at is None)
        if written and step.changes and step.state is not StepState.APPLIED:
            yield _entry(step.applied_at or now, "StepApplied", "Written", _told(step, "its changes stand"))
        if was is None or (was.state, was.attempts) != (step.state, step.attempts):
            yield _entry(now, f"Step{step.state}", step.reason, _told(step, step.message))
        elif was.eased != step.eased:
            yield _entry(now, "StepEased", str(step.eased or "Contained"), _told(step, step.message))


def _told(step: StepStatus, message: str) -> str:
    return f"{step.action} of {step.target.name}: {message}"


def _held(old: AIIncidentStatus, new: AIIncidentStatus, now: datetime) -> Iterator[TimelineEntry]:
    held = _news(old, new, conditions.HELD)
    if held is not None and held.status == "True":
        yield _entry(now, HELD, held.reason, held.message)
    elif held is not None and held.reason == _POLICY_MISSING:
        yield _entry(now, NOT_HELD, held.reason, held.message)
    stalled, before = (conditions.find(one.conditions, conditions.STALLED) for one in (new, old))
    if stalled is None or stalled.reason != REFUSED:
        return
    if before is None or (before.reason, before.message) != (stalled.reason, stalled.message):
        yield _entry(now, REFUSED, "TriedAgain", stalled.message)


def _verification(old: AIIncidentStatus, new: AIIncidentStatus, now: datetime) -> Iterator[TimelineEntry]:
    """That it begins anew, a stage of the release tells."""
    before = old.verification.outcome if old.verification is not None else CheckOutcome.PENDING
    found = new.verification
    if found is not None and found.outcome not in {before, CheckOutcome.PENDING}:
        checks = ", ".join(f"{one.name} {one.outcome}" for one in found.checks)
        yield _entry(now, f"Verification{found.outcome}", str(found.outcome), found.message or checks)


def _stage(
    incident: AIIncident, old: AIIncidentStatus, new: AIIncidentStatus, now: datetime
) -> Iterator[TimelineEntry]:
    release, before = new.release, old.release
    if release is None:
        return
    if before is not None and (before.stage, before.attempt) == (release.stage, release.attempt):
        return
    begins = release.stage is ReleaseStage.PROBATION and release.asked_by is AskedBy.PERSON
    yield _entry(
        now,
        f"Release{release.stage}",
        f"AskedBy{release.asked_by}",
        release.message or f"try {release.attempt}",
        _releaser(incident) if begins else STANCH,
    )


def _phase(
    incident: AIIncident, old: AIIncidentStatus, new: AIIncidentStatus, now: datetime
) -> Iterator[TimelineEntry]:
    if new.phase is None or new.phase == old.phase:
        return
    told_by = conditions.find(new.conditions, _TOLD_BY.get(new.phase, ""))
    asked = (
        incident.spec.desired_state is DesiredState.RELEASED
        or incident.metadata.deletion_timestamp is not None
    )
    yield _entry(
        now,
        str(new.phase),
        told_by.reason if told_by is not None else str(new.phase),
        new.summary or "",
        _releaser(incident) if new.phase is Phase.RELEASING and asked else STANCH,
    )


def _releaser(incident: AIIncident) -> str:
    return incident.metadata.annotations.get(RELEASED_BY) or NOT_RECORDED
