"""Whether `spec.approval` is a word that counts for this plan, now. Pure.

Who gave it is the API server's to say: admission lets nobody name another (manifests/admission). When it was
given is in metadata.managedFields, which clients cannot date:
https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from stanch.api.schema import seconds
from stanch.api.v1alpha1.policy import ApprovalRule
from stanch.api.v1alpha1.status import ApprovalStatus
from stanch.plans.changes import lookup
from stanch.status.conditions import AWAITING_APPROVAL
from stanch.status.text import clock

if TYPE_CHECKING:
    from datetime import datetime

    from stanch.api.v1alpha1.incident import AIIncident, Approval

REQUESTED_BY = "stanch.dev/requested-by"
"""Stamped by the API server when the incident is created (manifests/stamps)."""
_FIELDS = ("/f:spec/f:approval/f:planHash", "/f:spec/f:approval/f:by")


@dataclass(frozen=True, slots=True)
class Word:
    """What was made of the approval. `counts` or not, and why."""

    counts: bool
    reason: str
    message: str
    record: ApprovalStatus | None = None


def judge(incident: AIIncident, plan_hash: str, rule: ApprovalRule | None, now: datetime) -> Word:
    given, rule = incident.spec.approval, rule or ApprovalRule()
    if given is None:
        return Word(counts=False, reason=AWAITING_APPROVAL, message=_how(incident, plan_hash))
    at = _given_at(incident, given)
    if at is None:
        return Word(
            counts=False,
            reason="ApprovalUndated",
            message=f"when {given.by} approved is not recorded in metadata.managedFields; approve again",
        )
    expires = at + timedelta(seconds=seconds(rule.expires))
    record = ApprovalStatus(plan_hash=given.plan_hash, by=given.by, at=at, expires_at=expires)
    why = _void(incident, given, plan_hash, rule, expires, now)
    if why is not None:
        return Word(counts=False, reason=why[0], message=why[1], record=record)
    return Word(
        counts=True, reason="Approved", message=f"plan {plan_hash} approved by {given.by}", record=record
    )


def _void(  # noqa: PLR0913, PLR0917 - everything that an approval is held against
    incident: AIIncident,
    given: Approval,
    plan_hash: str,
    rule: ApprovalRule,
    expires: datetime,
    now: datetime,
) -> tuple[str, str] | None:
    again = _how(incident, plan_hash)
    if given.plan_hash != plan_hash:
        return (
            "PlanChanged",
            f"{given.by} approved plan {given.plan_hash}, and it is {plan_hash} now; read it, then {again}",
        )
    if now >= expires:
        return (
            "ApprovalExpired",
            f"{given.by}'s approval ended at {clock(expires)}; set spec.approval to null, then {again}",
        )
    if not rule.four_eyes:
        return None
    requester = incident.metadata.annotations.get(REQUESTED_BY, "")
    if not requester:
        return (
            "RequesterUnknown",
            f"four eyes are wanted, and annotation {REQUESTED_BY} does not say who asked",
        )
    if requester == given.by:
        return (
            "FourEyes",
            f"plan {plan_hash} was requested by {given.by}; the policy wants another person to approve it",
        )
    return None


def _how(incident: AIIncident, plan_hash: str) -> str:
    meta = incident.metadata
    return f"approve with: stanch approve -n {meta.namespace} {meta.name} --plan {plan_hash}"


def _given_at(incident: AIIncident, given: Approval) -> datetime | None:
    """The earliest time it is known to have stood since: later edits by the same client do not renew it."""
    known = incident.status.approval
    if known is not None and (known.plan_hash, known.by) == (given.plan_hash, given.by):
        return known.at
    times = [
        entry.time
        for entry in incident.metadata.managed_fields
        if entry.time is not None and any(lookup(entry.fields_v1, one) is not None for one in _FIELDS)
    ]
    return max(times, default=None)
