"""The conditions of an AIIncident and the one place that sets them.

Conventions: https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties
`Ready`, `Reconciling` and `Stalled` are kstatus's:
https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from stanch.api.v1alpha1.status import Condition

if TYPE_CHECKING:
    from datetime import datetime

ACCEPTED = "Accepted"
APPROVED = "Approved"
GUARDRAILS_PASSED = "GuardrailsPassed"
EVIDENCE_COLLECTED = "EvidenceCollected"
CONTAINED = "Contained"
HELD = "Held"
CONTESTED = "Contested"
VERIFIED = "Verified"
RELEASED = "Released"
ATTENDED = "Attended"
READY = "Ready"
RECONCILING = "Reconciling"
STALLED = "Stalled"

TYPES = {
    ACCEPTED: "the incident is valid and its plan can be carried out and undone",
    APPROVED: "a person who may has approved this plan",
    GUARDRAILS_PASSED: "no limit of the policy or the operator is in the way of containing by itself",
    EVIDENCE_COLLECTED: "what was in force and what was logged is stored, all of it",
    CONTAINED: "every required step is seen to be effective",
    HELD: "admission denies what would undo the containment",
    CONTESTED: "somebody or something tried to undo the containment",
    VERIFIED: "recovery is proven: every check passed on probation and in full",
    RELEASED: "what was changed has been given back",
    ATTENDED: "somebody has looked at the containment within the policy's reviewAfter",
    READY: "the incident is in the state its spec asks for",
    RECONCILING: "Stanch is working on it",
    STALLED: "Stanch cannot go on without a person",
}

EVIDENCE_REASONS = frozenset(
    {"EvidenceCollected", "EvidenceIncomplete", "EvidenceNotConfigured", "EvidenceNotStored"}
)

AWAITING_APPROVAL = "AwaitingApproval"
"""Reason of `Approved` while nobody's word is there."""

Truth = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Say:
    """One condition as it is now; when it last changed is worked out from what was said before."""

    type: str
    status: Truth
    reason: str
    message: str = ""


def find(conditions: tuple[Condition, ...], type_: str) -> Condition | None:
    return next((condition for condition in conditions if condition.type == type_), None)


def is_true(conditions: tuple[Condition, ...], type_: str) -> bool:
    condition = find(conditions, type_)
    return condition is not None and condition.status == "True"


def merge(
    old: tuple[Condition, ...], said: list[Say], generation: int | None, now: datetime
) -> tuple[Condition, ...]:
    """All that is said now. `lastTransitionTime` moves only when `status` does."""
    merged = []
    for say in said:
        before = find(old, say.type)
        since = before.last_transition_time if before and before.status == say.status else now
        merged.append(
            Condition(
                type=say.type,
                status=say.status,
                observed_generation=generation,
                last_transition_time=since,
                reason=say.reason,
                message=say.message,
            )
        )
    return tuple(merged)


APPROVAL_REQUIRED = "ApprovalRequired"
"""Reason of `Approved` in a dry run: a person would be asked."""
