"""A plan, as a person reads it: its steps, whether the way back is proven, what stands in its way. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.api.v1alpha1.policy import ApprovalRequired
from stanch.api.v1alpha1.status import StepState
from stanch.cli.screen import plain
from stanch.status import conditions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.api.v1alpha1.plan import PlanStatus
    from stanch.api.v1alpha1.policy import Guardrails


def plan_lines(incident: AIIncident, rails: Guardrails | None = None) -> Iterator[str]:
    """A line a step, with its diff; then the way back, and what stands in the way of it.

    `rails`: of the policy that the plan follows; None where it has none, or could not be read.
    """
    status = incident.status
    target = incident.spec.targets[0]
    which = f"{target.kind} {incident.metadata.namespace}/{target.name}"
    if status.plan is None:
        yield plain(f"No plan for {which}: {status.summary or 'no operator has looked at it'}")
    else:
        yield plain(f"Plan {status.plan.hash} for {which}, from {status.plan.source}")
        yield from map(plain, _steps(incident, status.plan))
        yield from map(plain, _undo(incident, status.plan))
        yield from map(plain, _guardrails(incident, status.plan, rails))
    for condition in status.conditions:
        if condition.type == conditions.ACCEPTED and condition.status != "True":
            yield plain(f" {condition.reason}: {condition.message}")
    yield "Nothing was changed."


def _steps(incident: AIIncident, plan: PlanStatus) -> Iterator[str]:
    entries = {step.id: step for step in incident.status.steps}
    for number, step in enumerate(plan.steps, 1):
        yield f" {number} {step.action} of {step.target}"
        yield from (f"     {line}" for line in step.diff or ("changes nothing",))
        entry = entries.get(step.id)
        if entry is not None and entry.state is StepState.REFUSED:
            yield f"     {entry.state}: {entry.message or entry.reason}"


def _undo(incident: AIIncident, plan: PlanStatus) -> Iterator[str]:
    """The operator shows no plan before it has tried out each change and its undo."""
    refused = {step.id for step in incident.status.steps if step.state is StepState.REFUSED}
    shown = {step.id for step in incident.status.steps}
    numbered = [(str(number), step) for number, step in enumerate(plan.steps, 1)]
    proven = [number for number, step in numbered if step.diff and step.id in shown - refused]
    unproven = [number for number, step in numbered if step.id in refused or step.id not in shown]
    if proven:
        yield f" undo        proven by dry run for {', '.join(proven)}"
    if unproven:
        yield f" undo        NOT proven for {', '.join(unproven)}: these would not be done"
    if not proven and not unproven:
        yield " undo        nothing to undo"


def _guardrails(incident: AIIncident, plan: PlanStatus, rails: Guardrails | None) -> Iterator[str]:
    """What the operator says is in the way now, and the limits of the policy."""
    asked = conditions.find(incident.status.conditions, conditions.APPROVED)
    if asked is not None and asked.status == "False":
        yield f" guardrails  a person has to approve it: {asked.message or asked.reason}"
    elif plan.policy is None:
        yield " guardrails  none: a plan without a policy is carried out by whoever may contain"
    else:
        yield " guardrails  none is in the way: it would begin by itself"
    limits = "; ".join(_limits(rails)) if rails is not None else ""
    if limits:
        yield f"             {plan.policy} has: {limits}"


def _limits(rails: Guardrails) -> Iterator[str]:
    """In words, as far as they are set."""
    rule = rails.approval
    if rule is not None and rule.required is not ApprovalRequired.NEVER:
        which = "always" if rule.required is ApprovalRequired.ALWAYS else f"from severity {rule.severity}"
        eyes = ", by somebody else than who asked" if rule.four_eyes else ""
        yield f"approval {which}{eyes}, valid for {rule.expires}"
    if rails.max_concurrent is not None:
        yield f"at most {rails.max_concurrent} containments at one time"
    if rails.storm is not None:
        yield f"at most {rails.storm.containments} that begin within {rails.storm.within}"
    if rails.attempts is not None:
        yield f"one workload at most {rails.attempts.most} times within {rails.attempts.within}"
    if rails.capacity_floor is not None:
        yield f"{rails.capacity_floor} of the replicas have to go on serving"
    if rails.cooldown is not None:
        yield f"triggers ignored for {rails.cooldown} after a containment"
