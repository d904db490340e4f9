"""Whether an incident may begin to carry out its plan: guardrails, and a person's word over them. Pure.

What has to wait once waits for a person: that a limit frees up hours later contains nothing by surprise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stanch.api.v1alpha1.status import Phase
from stanch.incidents import approval
from stanch.incidents.facts import begun
from stanch.incidents.guardrails import Asked, Tripped, tripped
from stanch.queue import Key
from stanch.status import conditions
from stanch.status.conditions import Say

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from stanch.api.v1alpha1.plan import PlanStatus
    from stanch.api.v1alpha1.status import AIIncidentStatus, ApprovalStatus
    from stanch.incidents.facts import Facts, Limits

_RULE = "ApprovalRequired"


@dataclass(frozen=True, slots=True)
class Gate:
    """`says`: the conditions that tell of it. `why`: what a person has to know who is asked to approve."""

    waits: bool = False
    says: tuple[Say, ...] = ()
    approval: ApprovalStatus | None = None
    why: str = ""
    reasons: str = ""
    """`why` without how to approve it."""

    def rehearsed(self) -> Gate:
        """What a dry run tells: that a person would be asked, but there is nothing that one could approve."""
        if not self.waits:
            return self
        asked = Say(conditions.APPROVED, "False", conditions.APPROVAL_REQUIRED, self.reasons)
        others = tuple(say for say in self.says if say.type != conditions.APPROVED)
        return Gate(waits=True, says=(asked, *others))


def passed(facts: Facts, plan: PlanStatus, now: datetime, limits: Limits) -> Gate:
    """An incident with a plan of its own needed the verb `contain`: a person's word, that no limit counts."""
    incident, policy = facts.incident, facts.policy
    if begun(incident) or policy is None:
        return stands(incident.status)
    rails = facts.choice.guardrails
    asked = Asked(
        key=Key(incident.metadata.namespace, incident.metadata.name),
        policy=policy.uid,
        severity=incident.spec.severity,
        targets=frozenset(f"{target.kind}/{target.name}" for target in incident.spec.targets),
        actions=frozenset(step.action for step in plan.steps),
    )
    found = tripped(asked, rails, limits.own, facts.containments, facts.serving, now)
    waited = incident.status.phase is Phase.AWAITING_APPROVAL
    if not found and not waited:
        return Gate()
    word = approval.judge(incident, plan.hash, rails.approval, now)
    guards = _guards(found, incident.status)
    said = Say(conditions.APPROVED, "True" if word.counts else "False", word.reason, word.message)
    record = word.record
    if word.counts and record is not None:
        record = record.model_copy(update={"used_at": now})
    reasons = "; ".join(one.message for one in found) or (guards.message if guards else "")
    return Gate(
        waits=not word.counts,
        says=(said, guards) if guards else (said,),
        approval=record,
        why=f"{reasons}; {word.message}" if reasons else word.message,
        reasons=reasons,
    )


def _guards(found: Sequence[Tripped], status: AIIncidentStatus) -> Say | None:
    """That a policy wants every plan approved is no limit that was reached."""
    reached = [one for one in found if one.reason != _RULE]
    if not reached:
        return _again(status, conditions.GUARDRAILS_PASSED)
    return Say(
        conditions.GUARDRAILS_PASSED,
        "False",
        reached[0].reason,
        "; ".join(one.message for one in reached),
    )


def stands(status: AIIncidentStatus) -> Gate:
    """As it was when containing began."""
    again = [_again(status, type_) for type_ in (conditions.APPROVED, conditions.GUARDRAILS_PASSED)]
    return Gate(says=tuple(say for say in again if say is not None), approval=status.approval)


def _again(status: AIIncidentStatus, type_: str) -> Say | None:
    condition = conditions.find(status.conditions, type_)
    if condition is None:
        return None
    return Say(type_, "True" if condition.status == "True" else "False", condition.reason, condition.message)
