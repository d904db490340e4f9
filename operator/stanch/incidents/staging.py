"""What an incident tells of a release that is proven stage by stage. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.api.v1alpha1.incident import DesiredState
from stanch.api.v1alpha1.recovery import ReleaseStage
from stanch.api.v1alpha1.status import CONTAINS, GIVEN_BACK, AskedBy, Phase
from stanch.status import conditions
from stanch.status.conditions import Say

if TYPE_CHECKING:
    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.api.v1alpha1.recovery import Probation, Verification
    from stanch.api.v1alpha1.status import ReleaseStatus, VerificationStatus

_LONGEST = 3000
_STAGES = {
    ReleaseStage.PROBATION: "on probation",
    ReleaseStage.FULL: "back in full, not proven yet",
}
CONTAINED_AGAIN = "ContainedAgain"


def under_way(release: ReleaseStatus | None) -> bool:
    return release is not None and release.stage in _STAGES


def says(
    incident: AIIncident,
    phase: Phase,
    release: ReleaseStatus | None,
    verification: VerificationStatus | None,
) -> list[Say]:
    """The conditions `Verified` and, beside what a release at once says, `Released`."""
    said = [verified] if (verified := _verified(incident, phase, release, verification)) else []
    if release is None:
        return said
    if release.stage in _STAGES and phase is Phase.RELEASING:
        said.append(Say(conditions.RELEASED, "False", str(release.stage), _told(release, verification)))
    if release.stage is ReleaseStage.FAILED and phase in CONTAINS - {Phase.RELEASING}:
        said.append(Say(conditions.RELEASED, "False", CONTAINED_AGAIN, _again(incident, release)))
    return said


def addition(
    incident: AIIncident,
    phase: Phase,
    release: ReleaseStatus | None,
    verification: VerificationStatus | None,
) -> str:
    """What the summary says beside what is contained; empty when that is all."""
    if release is None:
        return ""
    if release.stage in _STAGES and phase is Phase.RELEASING:
        return f"; {_told(release, verification)}"
    if release.stage is ReleaseStage.FAILED and phase in CONTAINS - {Phase.RELEASING}:
        return f"; contained again: {_again(incident, release)}"
    return ""


def _verified(
    incident: AIIncident,
    phase: Phase,
    release: ReleaseStatus | None,
    verification: VerificationStatus | None,
) -> Say | None:
    plan = incident.status.plan
    policy = plan.policy if plan is not None else None
    if policy is None or policy.verification is None or phase not in CONTAINS | GIVEN_BACK:
        return None
    if release is None:
        if phase in GIVEN_BACK or phase is Phase.RELEASING:
            return Say(conditions.VERIFIED, "False", "NotVerified", "given back on a person's word")
        probation = policy.release.probation if policy.release is not None else None
        return Say(conditions.VERIFIED, "False", "AwaitingRelease", _awaits(policy.verification, probation))
    message = verification.message if verification is not None else ""
    if release.stage is ReleaseStage.PASSED:
        return Say(conditions.VERIFIED, "True", "ChecksPassed", message)
    outcome = str(verification.outcome) if verification is not None else "Pending"
    if release.stage is ReleaseStage.FAILED:
        return Say(conditions.VERIFIED, "False", outcome, release.message[:_LONGEST])
    return Say(conditions.VERIFIED, "False", outcome, message[:_LONGEST])


def _awaits(verification: Verification, probation: Probation | None) -> str:
    names = ", ".join(check.name for check in verification.checks)
    if probation is not None and probation.share is not None:
        let_in = f"{probation.share} of its replicas"
    else:
        count = (probation.replicas if probation is not None else None) or 1
        let_in = f"{count} replica{'' if count == 1 else 's'}"
    return f"release begins with {let_in} on probation; to be shown: {names}"


def _told(release: ReleaseStatus, verification: VerificationStatus | None) -> str:
    attempt = f", attempt {release.attempt}" if release.attempt > 1 else ""
    message = verification.message if verification is not None else ""
    return f"{_STAGES[release.stage]}{attempt}{': ' + message if message else ''}"[:_LONGEST]


def _again(incident: AIIncident, release: ReleaseStatus) -> str:
    """Why, and what a person may do who wants it released all the same."""
    meta = incident.metadata
    if release.asked_by is AskedBy.PERSON and incident.spec.desired_state is DesiredState.RELEASED:
        further = (
            "; to try once more set spec.desiredState to Contained and then to Released: kubectl edit aii "
            f"{meta.name} -n {meta.namespace}"
        )
    else:
        further = ""
    return f"{release.message}{further}"[:_LONGEST]
