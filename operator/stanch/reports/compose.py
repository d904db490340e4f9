"""From an incident, and what its evidence is now, to the report. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch import __version__
from stanch.api.v1alpha1.status import Timestamps
from stanch.reports.evidence import checked, checked_timeline
from stanch.reports.model import (
    ActionTaken,
    FollowUps,
    Identity,
    Plan,
    Recovery,
    RegulatoryLog,
    Report,
    System,
    Words,
    Written,
    WrittenLines,
)
from stanch.reports.phases import phases
from stanch.reports.techniques import techniques

if TYPE_CHECKING:
    from datetime import datetime

    from stanch.api.v1alpha1.incident import AIIncident, Target
    from stanch.api.v1alpha1.record import Resolution
    from stanch.api.v1alpha1.status import AIIncidentStatus, StepStatus, TimelineEntry
    from stanch.reports.recheck import Rechecked

REQUESTED_BY = "stanch.dev/requested-by"
RELEASED_BY = "stanch.dev/released-by"
"""Stamped by the API server, or written by those whom admission lets name only themselves."""
CSF = {
    "CollectEvidence": ("RS.AN-07",),
    "Isolate": ("RS.MI-01",),
    "Quarantine": ("RS.MI-01", "RS.AN-07"),
    "RevokeServiceAccount": ("RS.MI-01",),
    "Rollback": ("RS.MI-01", "RS.MI-02"),
    "ScaleToZero": ("RS.MI-01",),
    "Suspend": ("RS.MI-01",),
}
"""What each action does in terms of NIST CSF 2.0: contain, eradicate, keep data and its provenance."""


def compose(incident: AIIncident, found: Rechecked, now: datetime) -> Report:
    """`found`: what `recheck` found; a collection that it does not tell of is not verified."""
    spec, status, meta = incident.spec, incident.status, incident.metadata
    regulatory = spec.regulatory
    return Report(
        tool=f"stanch {__version__}",
        made_at=now,
        incident=Identity(
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
            generation=meta.generation,
            resource_version=meta.resource_version,
            created_at=meta.creation_timestamp,
        ),
        tlp=spec.tlp,
        exercise=spec.exercise,
        dry_run=spec.mode == "DryRun",
        title=spec.title,
        description=spec.description,
        category=spec.category,
        severity=spec.severity,
        phase=status.phase or "Not looked at yet",
        standing=status.summary or "",
        reported_by=meta.annotations.get(REQUESTED_BY),
        roles=spec.roles,
        external_refs=spec.external_refs,
        words=_words(spec.resolution),
        systems=tuple(_system(target, status.steps) for target in spec.targets),
        model=spec.affected_model,
        known_good=spec.known_good,
        timestamps=_timestamps(incident),
        contained_in=status.contained_in,
        conditions=status.conditions,
        contested=status.contested,
        phases=phases(status.timeline, _timestamps(incident)),
        timeline=tuple(sorted(status.timeline, key=lambda entry: (entry.at, entry.seq))),
        earlier=_earlier(status.timeline),
        detection=spec.detection,
        signals=status.signals,
        plan=_plan(status),
        approval=status.approval,
        actions=_actions(incident),
        evidence=checked(status.evidence, found.collections),
        stored_timeline=checked_timeline(found.timeline),
        techniques=techniques(spec.attacks, spec.owasp_refs),
        recovery=Recovery(
            asked_by=meta.annotations.get(RELEASED_BY),
            release=status.release,
            verification=status.verification,
            skipped=spec.skip_verification,
        ),
        regulatory=RegulatoryLog(
            aware_at=regulatory.aware_at if regulatory else None,
            personal_data=regulatory.personal_data if regulatory else None,
            notes=regulatory.notes if regulatory else None,
            clocks=status.clocks,
            decisions=regulatory.decisions if regulatory else (),
        ),
    ).sealed()


def _timestamps(incident: AIIncident) -> Timestamps:
    """When it occurred is known before Stanch has looked at it, and may be found out after."""
    known = incident.status.timestamps or Timestamps()
    return known.model_copy(update={"occurred": incident.spec.occurred_at or known.occurred})


def _words(said: Resolution | None) -> Words:
    lessons = said.lessons if said else None
    return Words(
        determination=Written(field="spec.resolution.determination", text=said and said.determination),
        summary=Written(field="spec.resolution.summary", text=said and said.summary),
        impact=Written(field="spec.resolution.impact", text=said and said.impact),
        root_cause=Written(field="spec.resolution.rootCause", text=said and said.root_cause),
        near_misses=Written(field="spec.resolution.nearMisses", text=said and said.near_misses),
        communications=Written(field="spec.resolution.communications", text=said and said.communications),
        went_well=WrittenLines(
            field="spec.resolution.lessons.wentWell", lines=lessons.went_well if lessons else ()
        ),
        went_wrong=WrittenLines(
            field="spec.resolution.lessons.wentWrong", lines=lessons.went_wrong if lessons else ()
        ),
        got_lucky=WrittenLines(
            field="spec.resolution.lessons.gotLucky", lines=lessons.got_lucky if lessons else ()
        ),
        follow_ups=FollowUps(field="spec.resolution.actions", actions=said.actions if said else ()),
    )


def _system(target: Target, steps: tuple[StepStatus, ...]) -> System:
    on_it = [
        step for step in steps if (step.target.kind, step.target.name) == (str(target.kind), target.name)
    ]
    condemned = dict.fromkeys(version for step in on_it for version in step.condemned)
    return System(
        api_version=target.api_version,
        kind=target.kind,
        name=target.name,
        uid=next((step.target.uid for step in on_it if step.target.uid), None),
        condemned=tuple(condemned),
    )


def _earlier(timeline: tuple[TimelineEntry, ...]) -> int:
    """Entries are counted from 1, and the oldest leave first. Those without a number say nothing."""
    numbers = [entry.seq for entry in timeline if entry.seq > 0]
    return min(numbers) - 1 if numbers else 0


def _plan(status: AIIncidentStatus) -> Plan | None:
    if status.plan is None:
        return None
    policy = status.plan.policy
    return Plan(
        hash=status.plan.hash, source=status.plan.source, policy=str(policy) if policy is not None else None
    )


def _actions(incident: AIIncident) -> tuple[ActionTaken, ...]:
    status = incident.status
    diffs = {step.id: step.diff for step in status.plan.steps} if status.plan else {}
    word = _word(incident)
    return tuple(_action(step, diffs.get(step.id, ()), word) for step in status.steps)


def _word(incident: AIIncident) -> str:
    """Who let the plan be carried out: its approver, else the policy, else whoever wrote the incident."""
    approval, plan = incident.status.approval, incident.status.plan
    if approval is not None and approval.used_at is not None:
        return f"{approval.by} (approved)"
    if plan is not None and plan.policy is not None:
        return f"{plan.policy} (policy)"
    requester = incident.metadata.annotations.get(REQUESTED_BY)
    return f"{requester} (reporter)" if requester else "whoever created the incident"


def _action(step: StepStatus, diff: tuple[str, ...], word: str) -> ActionTaken:
    return ActionTaken(
        action=step.action,
        target=f"{step.target.kind}/{step.target.name}",
        csf=CSF.get(step.action, ()),
        on_the_word_of=word,
        state=step.state,
        reason=step.reason,
        message=step.message,
        optional=step.optional,
        changes=diff,
        started_at=step.started_at,
        applied_at=step.applied_at,
        effective_at=step.effective_at,
        undone_at=step.undo.at if step.undo else None,
        undo=step.undo.message if step.undo else "",
        kept=step.undo.kept if step.undo else (),
    )
