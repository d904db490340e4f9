"""Kubernetes Events for what people can act on or want to know. Pure: from the old status to the new.

https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from stanch.api.v1alpha1.base import API_VERSION
from stanch.api.v1alpha1.recovery import ReleaseStage
from stanch.api.v1alpha1.status import AIIncidentStatus, AskedBy, Phase, StepState
from stanch.clocks.attendance import UNATTENDED
from stanch.clocks.duties import ClockState
from stanch.status import conditions
from stanch.status.text import contested_line

if TYPE_CHECKING:
    from datetime import datetime

    from stanch.api.v1alpha1.incident import AIIncident

_WARNINGS = {Phase.AWAITING_APPROVAL, Phase.CONTAINMENT_FAILED, Phase.PARTIALLY_CONTAINED, Phase.REJECTED}
_TOLD_STEPS = {
    StepState.EFFECTIVE,
    StepState.INEFFECTIVE,
    StepState.REFUSED,
    StepState.UNDONE,
    StepState.PASSED_ON,
}
_DECIDED = {ClockState.REPORTED, ClockState.NOT_REPORTABLE}
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Note:
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    step: str | None = None
    """The journal entry that it is about, if it is about one."""
    target: str | None = None


def notes(old: AIIncidentStatus, new: AIIncidentStatus) -> list[Note]:
    """What is new in `new`, oldest first."""
    told: list[Note] = []
    if old.phase is None and new.plan is not None and new.phase is not Phase.REJECTED:
        diff = "; ".join(f"{step.target}: {', '.join(step.diff) or step.action}" for step in new.plan.steps)
        told.append(Note("Normal", "Detected", f"plan {new.plan.hash} ({new.plan.source}): {diff}"))
    states = {step.id: step.state for step in old.steps}
    for step in new.steps:
        if step.state in _TOLD_STEPS and states.get(step.id) is not step.state:
            bad = step.state in (StepState.INEFFECTIVE, StepState.REFUSED)
            told.append(
                Note(
                    "Warning" if bad else "Normal",
                    f"Step{step.state}",
                    f"{step.action} of {step.target.kind} {step.target.name}: {step.message}",
                    step.id,
                    f"{step.target.kind}/{step.target.name}",
                )
            )
    if new.contested and new.contested != old.contested:
        told.append(Note("Warning", "Contested", contested_line(new.contested)))
    told += _approval(old, new)
    told += _release(old, new)
    told += [
        Note("Warning", "SinkGaveUp", f"{sink} was not told {count} of what happened: {why}")
        for sink, count, why in given_up(old, new)
    ]
    told += _duties(old, new)
    told += [Note("Normal", "ReportStored", one.location) for one in new.reports if one not in old.reports]
    held = conditions.find(new.conditions, conditions.HELD)
    was_held = conditions.find(old.conditions, conditions.HELD)
    if (
        held
        and held.reason == "AdmissionPolicyMissing"
        and (was_held is None or was_held.reason != held.reason)
    ):
        told.append(Note("Warning", "NotHeld", held.message))
    if new.phase != old.phase and new.phase is not None:
        type_: Literal["Normal", "Warning"] = "Warning" if new.phase in _WARNINGS else "Normal"
        told.append(Note(type_, str(new.phase), new.summary or str(new.phase)))
    return told


def given_up(old: AIIncidentStatus, new: AIIncidentStatus) -> list[tuple[str, int, str]]:
    """Who was not told how many more entries of the timeline, and why."""
    before = {one.sink: one.dropped for one in old.deliveries}
    return [
        (one.sink, one.dropped - before.get(one.sink, 0), one.message)
        for one in new.deliveries
        if one.dropped > before.get(one.sink, 0)
    ]


def _approval(old: AIIncidentStatus, new: AIIncidentStatus) -> list[Note]:
    """What became of somebody's approval. That one is awaited, the phase tells."""
    said = conditions.find(new.conditions, conditions.APPROVED)
    before = conditions.find(old.conditions, conditions.APPROVED)
    if said is None or said.reason == conditions.AWAITING_APPROVAL:
        return []
    if before is not None and (before.reason, before.message) == (said.reason, said.message):
        return []
    return [Note("Normal" if said.status == "True" else "Warning", said.reason, said.message)]


def _release(old: AIIncidentStatus, new: AIIncidentStatus) -> list[Note]:
    """Each stage of a release once; how it ended well, the phase tells."""
    now, before = new.release, old.release
    if now is None or (before is not None and (before.stage, before.attempt) == (now.stage, now.attempt)):
        return []
    match now.stage:
        case ReleaseStage.FAILED:
            return [Note("Warning", "ReleaseFailed", f"contained again: {now.message}")]
        case ReleaseStage.PASSED:
            return []
        case ReleaseStage.PROBATION | ReleaseStage.FULL:
            asked = "the policy" if now.asked_by is AskedBy.POLICY else "a person"
            return [
                Note(
                    "Normal",
                    f"Release{now.stage}",
                    f"attempt {now.attempt}, asked for by {asked}: checks follow",
                )
            ]


def _duties(old: AIIncidentStatus, new: AIIncidentStatus) -> list[Note]:
    """Reporting duties that press or were decided about, and a containment that nobody looks at."""
    told: list[Note] = []
    states = {clock.id: clock.state for clock in old.clocks}
    for clock in new.clocks:
        before = states.get(clock.id)
        text = f"{clock.id} ({clock.source}): {clock.message}"
        if before == clock.state:
            continue
        if clock.state in (ClockState.DUE_SOON, ClockState.OVERDUE):
            told.append(Note("Warning", f"Clock{clock.state}", text))
        elif clock.state in _DECIDED or (
            clock.state == ClockState.RUNNING and before in (None, ClockState.UNDECIDED)
        ):
            told.append(Note("Normal", "ClockDecided", text))
    attended = conditions.find(new.conditions, conditions.ATTENDED)
    was = conditions.find(old.conditions, conditions.ATTENDED)
    if (
        attended is not None
        and attended.status == "False"
        and (was is None or was.message != attended.message)
    ):
        told.append(Note("Warning", UNATTENDED, attended.message))
    return told


def event(incident: AIIncident, note: Note, version: str, now: datetime) -> dict[str, Any]:
    """The Event object. Its name follows from what it says, so that a repeat is refused as existing."""
    meta = incident.metadata
    subject = Subject("AIIncident", meta.name, meta.namespace, meta.uid, version)
    return event_about(subject, note, f"{version}/{note.reason}/{note.message}", now)


@dataclass(frozen=True, slots=True)
class Subject:
    """What an Event is about: an object of ours. `namespace` is empty for one of the cluster."""

    kind: str
    name: str
    namespace: str
    uid: str
    version: str


def event_about(subject: Subject, note: Note, what: str, now: datetime) -> dict[str, Any]:
    """The Event object, named after its subject and `what`: a second of the same is refused as existing.

    Events of cluster-wide objects stand in namespace `default`: the API server takes them nowhere else.
    """
    digest = hashlib.sha256(f"{subject.uid}/{what}".encode()).hexdigest()[:16]
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    about = {
        "apiVersion": API_VERSION,
        "kind": subject.kind,
        "name": subject.name,
        "uid": subject.uid,
        "resourceVersion": subject.version,
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{subject.name[:230].rstrip('-.')}.{digest}",
            "namespace": subject.namespace or "default",
        },
        "involvedObject": about | ({"namespace": subject.namespace} if subject.namespace else {}),
        "type": note.type,
        "reason": note.reason,
        "message": note.message[:_LONGEST],
        "source": {"component": "stanch"},
        "reportingComponent": "stanch.dev/operator",
        "reportingInstance": "stanch",
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
