"""The whole status of an incident, composed in one place from what was found and decided. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from stanch.api.v1alpha1.status import (
    GIVEN_BACK,
    AIIncidentStatus,
    Contested,
    Phase,
    ReleaseStatus,
    StepState,
    StepStatus,
    Timestamps,
    VerificationStatus,
)
from stanch.api.v1alpha1.steps import CollectEvidence
from stanch.holds.canary import Proof
from stanch.incidents import signalled, staging, timeline
from stanch.incidents.gate import Gate, stands
from stanch.status import conditions
from stanch.status.conditions import Say
from stanch.status.phase import Course, phase_of
from stanch.status.text import contested_line, span, summary, target_line

if TYPE_CHECKING:
    from stanch.api.v1alpha1.evidence import EvidenceRecord
    from stanch.api.v1alpha1.plan import PlanStatus
    from stanch.incidents.facts import Contest, Facts

_JUST_CREATED = timedelta(seconds=2)
_CONTAINING = {Phase.CONTAINED, Phase.PARTIALLY_CONTAINED}
_BEGUN = {Phase.CONTAINING, Phase.CONTAINMENT_FAILED, *_CONTAINING}
_WORKING = {Phase.CONTAINING, Phase.RELEASING, Phase.AWAITING_APPROVAL}
_AS_ASKED = {Phase.CONTAINED, Phase.DETECTED, Phase.DUPLICATE} | GIVEN_BACK
_UNTOUCHED = {Phase.REJECTED, Phase.DUPLICATE, Phase.DETECTED, Phase.AWAITING_APPROVAL}
_STUCK = {Phase.CONTAINMENT_FAILED, Phase.REJECTED}


@dataclass(frozen=True, slots=True)
class Told:
    """What one decision has to tell."""

    steps: tuple[StepStatus, ...]
    plan: PlanStatus | None
    course: Course
    hold_stands: bool = False
    contests: tuple[Contest, ...] = ()
    problem: str = ""
    reason: str = ""
    gate: Gate | None = None
    """None: as it stands in the status."""
    release: ReleaseStatus | None = None
    """None: as it stands in the status."""
    verification: VerificationStatus | None = None
    """None: as it stands in the status."""


def tell(facts: Facts, told: Told, now: datetime) -> AIIncidentStatus:
    old = facts.incident.status
    phase = phase_of(told.steps, told.course)
    contested = _contested(old.contested, told.contests)
    held = _held(facts, told, phase)
    gate = told.gate or stands(old)
    timestamps = _rehearsed(_timestamps(facts, phase, gate, now), told, now)
    release, verification = told.release or old.release, told.verification or old.verification
    if told.release is None and staging.under_way(old.release):
        release = verification = None  # what is left of it is given back without proof
    said = _said(told, phase, held, contested, facts.problem, gate)
    said += staging.says(facts.incident, phase, release, verification)
    generation = facts.incident.metadata.generation
    signals, heard = signalled.fold(old.signals, facts.signals)
    new = AIIncidentStatus(
        observed_generation=generation,
        phase=phase,
        target=target_line(facts.incident.spec.targets),
        summary=(
            summary(
                facts.incident,
                phase,
                told.steps,
                held=held.status == "True",
                problem=told.problem or held.message,
                refused=facts.problem,
                plan=told.plan,
                rehearsed_in=_rehearsed_in(timestamps) if told.course.dry_run else None,
            )
            + staging.addition(facts.incident, phase, release, verification)
        )[:2048],
        contained_in=_contained_in(timestamps),
        conditions=conditions.merge(old.conditions, said, generation, now),
        plan=told.plan,
        steps=told.steps,
        contested=contested,
        approval=gate.approval,
        release=release,
        verification=verification,
        signals=signals,
        evidence=_evidence_records(old, told.steps, verification),
        reports=old.reports,
        deliveries=old.deliveries,
        timestamps=timestamps,
    )
    news = timeline.Heard(heard, facts.contests, told.contests)
    return new.model_copy(update={"timeline": timeline.extended(facts.incident, new, news, now)})


def _evidence_records(
    old: AIIncidentStatus, steps: tuple[StepStatus, ...], verification: VerificationStatus | None
) -> tuple[EvidenceRecord, ...]:
    """All there are, oldest first: what checks of an earlier stage kept is in the status alone."""
    found = [step.evidence for step in steps if step.evidence is not None]
    others = [*old.evidence, *(one.evidence for one in (verification.checks if verification else ()))]
    for one in others:
        if one is not None and one not in found:
            found.append(one)
    return tuple(found[-20:])


def _contested(old: Contested | None, contests: tuple[Contest, ...]) -> Contested | None:
    if not contests:
        return old
    last = max(contests, key=lambda contest: contest.at)
    return Contested(
        count=(old.count if old else 0) + len(contests),
        last_at=last.at,
        last_by=last.by[:253],
        last_what=last.what[:1024],
    )


def _held(facts: Facts, told: Told, phase: Phase) -> Say:
    untouched = not any(step.changes or step.condemned for step in told.steps)
    if phase in _UNTOUCHED or (told.hold_stands and untouched):
        return Say(conditions.HELD, "False", "NothingToHold", "nothing was changed")
    staged = staging.under_way(told.release)
    if (phase is Phase.RELEASING and not staged) or phase in GIVEN_BACK:
        return Say(conditions.HELD, "False", "Released", "no longer denied by this incident")
    if not told.hold_stands:
        return Say(conditions.HELD, "False", "HoldPending", "the hold is not written yet")
    if facts.proof.verdict is Proof.MISSING:
        return Say(
            conditions.HELD,
            "False",
            "AdmissionPolicyMissing",
            f"admission does not deny what the hold forbids: {facts.proof.message}; "
            "changes by others are put right after the fact; install the policies in manifests/admission",
        )
    if facts.proof.verdict is Proof.UNKNOWN:
        return Say(
            conditions.HELD,
            "Unknown",
            "NotProven",
            f"the hold is written, but not yet seen to be enforced: {facts.proof.message}",
        )
    what = "what is not given back yet stays so" if staged else "what would undo the containment is denied"
    return Say(conditions.HELD, "True", "DeniedAtAdmission", what)


def _said(  # noqa: PLR0913, PLR0917 - all that conditions tell of
    told: Told, phase: Phase, held: Say, contested: Contested | None, refused: str, gate: Gate
) -> list[Say]:
    accepted = (
        Say(conditions.ACCEPTED, "False", told.reason, told.problem)
        if told.course.rejected
        else Say(conditions.ACCEPTED, "True", "PlanMade", f"plan {told.plan.hash}" if told.plan else "")
    )
    said = [accepted, *gate.says, _contained(told, phase), held, *_evidence(told.steps)]
    if contested is not None:
        said.append(Say(conditions.CONTESTED, "True", "TriedToUndo", contested_line(contested)))
    if told.course.releasing and not staging.under_way(told.release):
        released = phase in GIVEN_BACK
        said.append(
            Say(
                conditions.RELEASED,
                "True" if released else "False",
                "GivenBack" if released else "GivingBack",
                _kept(told.steps),
            )
        )
    settled = phase in _AS_ASKED and not refused
    working = phase in _WORKING
    stuck = phase in _STUCK or bool(refused)
    why = told.problem or refused or _problem(told.steps)
    said += [
        Say(conditions.READY, "True" if settled else "False", str(phase), "" if settled else why),
        Say(conditions.RECONCILING, "True" if working else "False", str(phase)),
        Say(
            conditions.STALLED,
            "True" if stuck else "False",
            told.reason or ("Refused" if refused else str(phase)),
            why if stuck else "",
        ),
    ]
    return said


def _evidence(steps: tuple[StepStatus, ...]) -> list[Say]:
    """What became of the evidence, once it is known: the worst of it first."""
    taken = [
        step
        for step in steps
        if step.action == CollectEvidence.action
        and (step.applied_at is not None or step.reason in conditions.EVIDENCE_REASONS)
    ]
    if not taken:
        return []
    whole = all(step.evidence is not None and step.evidence.complete for step in taken)
    worst = min(taken, key=lambda step: (step.evidence is not None, step.reason == "EvidenceCollected"))
    reason = worst.reason if worst.reason in conditions.EVIDENCE_REASONS else "Collecting"
    return [Say(conditions.EVIDENCE_COLLECTED, "True" if whole else "False", reason, worst.message)]


def _contained(told: Told, phase: Phase) -> Say:
    effective = sum(step.state is StepState.EFFECTIVE for step in told.steps)
    count = f"{effective} of {len(told.steps)} steps effective"
    if phase is Phase.CONTAINED:
        return Say(conditions.CONTAINED, "True", "AllStepsEffective", count)
    if phase is Phase.PARTIALLY_CONTAINED:
        return Say(conditions.CONTAINED, "False", "OptionalStepsFailed", f"{count}; {_problem(told.steps)}")
    if phase is Phase.CONTAINMENT_FAILED:
        return Say(conditions.CONTAINED, "False", "StepIneffective", f"{count}; {_problem(told.steps)}")
    if phase is Phase.CONTAINING:
        return Say(conditions.CONTAINED, "False", "InProgress", f"{count}; {_problem(told.steps)}")
    return Say(conditions.CONTAINED, "False", str(phase), "")


def _problem(steps: tuple[StepStatus, ...]) -> str:
    return "; ".join(
        f"{step.action} of {step.target.name}: {step.message or step.reason}"
        for step in steps
        if step.state not in (StepState.EFFECTIVE, StepState.UNDONE, StepState.PASSED_ON)
    )[:3000]


def _kept(steps: tuple[StepStatus, ...]) -> str:
    kept = [f"{step.target.name} {path}" for step in steps if step.undo for path in step.undo.kept]
    return f"not touched, changed by others meanwhile: {', '.join(kept)}"[:3000] if kept else ""


def _timestamps(facts: Facts, phase: Phase, gate: Gate, now: datetime) -> Timestamps:
    old = facts.incident.status.timestamps or Timestamps()
    recovered = phase in GIVEN_BACK and facts.incident.status.proven
    return old.model_copy(
        update={
            "occurred": old.occurred or facts.incident.spec.occurred_at,
            "detected": old.detected or _detected(facts, now),
            "approved": gate.approval.at if gate.approval and not gate.waits else old.approved,
            "begun": old.begun or (now if phase in _BEGUN else None),
            "contained": old.contained or (now if phase in _CONTAINING else None),
            "released": old.released or (now if phase in GIVEN_BACK else None),
            "recovered": old.recovered or (now if recovered else None),
            "closed": old.closed or (now if phase is Phase.CLOSED else None),
        }
    )


def _detected(facts: Facts, now: datetime) -> datetime:
    """When Stanch first saw it. creationTimestamp has whole seconds: for when this operator came late."""
    seen = facts.seen_at or now
    created = facts.incident.metadata.creation_timestamp or seen
    return seen if seen - created < _JUST_CREATED else created


def _rehearsed(times: Timestamps, told: Told, now: datetime) -> Timestamps:
    """What can be measured with nothing touched: a plan whose changes, and their undo, were all accepted."""
    proven = not any(step.state is StepState.REFUSED for step in told.steps)
    if not (told.course.dry_run and proven):
        return times
    return times.model_copy(update={"rehearsed": times.rehearsed or now})


def _rehearsed_in(times: Timestamps) -> timedelta | None:
    return None if times.rehearsed is None or times.detected is None else times.rehearsed - times.detected


def _contained_in(timestamps: Timestamps) -> str | None:
    if timestamps.contained is None or timestamps.detected is None:
        return None
    return span(timestamps.contained - timestamps.detected)
