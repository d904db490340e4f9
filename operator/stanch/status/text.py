"""Sentences for `kubectl get` and `kubectl describe`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.api.v1alpha1.status import Contested, Phase, StepState, StepStatus
from stanch.plans.changes import leaves

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from stanch.api.v1alpha1.incident import AIIncident, Target
    from stanch.api.v1alpha1.plan import PlanStatus

_SHORT = {
    "Deployment": "Deploy",
    "StatefulSet": "StatefulSet",
    "DaemonSet": "DaemonSet",
    "ReplicaSet": "ReplicaSet",
    "Job": "Job",
    "CronJob": "CronJob",
}
_MAX = 2000
_SECONDS_PER_MINUTE = 60


def target_line(targets: Sequence[Target]) -> str:
    """`Deploy/llm-chat`, with `+2` when there are two more."""
    first = targets[0]
    more = f" +{len(targets) - 1}" if len(targets) > 1 else ""
    return f"{_SHORT[first.kind]}/{first.name}{more}"


def span(duration: timedelta) -> str:
    """A duration at the precision a reader needs: `412ms`, `1.9s`, `74s`, `12m`."""
    seconds = max(duration.total_seconds(), 0.0)
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    if seconds < 10:  # noqa: PLR2004 - below ten seconds a tenth matters
        return f"{seconds:.1f}s"
    if seconds < 10 * _SECONDS_PER_MINUTE:
        return f"{round(seconds)}s"
    return f"{round(seconds / _SECONDS_PER_MINUTE)}m"


def clock(moment: datetime) -> str:
    return moment.strftime("%H:%M:%S UTC")


def contested_line(contested: Contested) -> str:
    times = "once" if contested.count == 1 else f"{contested.count} times"
    when = f" at {clock(contested.last_at)}" if contested.last_at else ""
    return f"{times}; last: {contested.last_by} {contested.last_what}{when}"


def summary(  # noqa: PLR0913 - all that a line about an incident may have to tell
    incident: AIIncident,
    phase: Phase,
    steps: Sequence[StepStatus],
    *,
    held: bool,
    problem: str,
    refused: str = "",
    plan: PlanStatus | None = None,
    rehearsed_in: timedelta | None = None,
) -> str:
    """What is stopped, whether it stays stopped, what is left to do, what was refused."""
    names = ", ".join(f"{target.kind} {target.name}" for target in incident.spec.targets[:3])
    if len(incident.spec.targets) > 3:  # noqa: PLR2004 - as many as fit a line
        names += f" and {len(incident.spec.targets) - 3} more"
    done = "; ".join(f"{step.target.name} {diff}" for step in steps if (diff := _did(step)))
    effective = sum(step.state is StepState.EFFECTIVE for step in steps)
    text = {
        Phase.DETECTED: _detected(names, steps) + _by_policy(plan),
        Phase.CONTAINING: f"containing {names}: {effective} of {len(steps)} steps effective; "
        f"{_waiting(steps)}",
        Phase.CONTAINED: f"contained: {done}; {'held' if held else 'NOT held: ' + problem}",
        Phase.PARTIALLY_CONTAINED: f"partially contained: {done}; not effective: {_waiting(steps)}",
        Phase.CONTAINMENT_FAILED: f"NOT contained: {_waiting(steps)}",
        Phase.AWAITING_APPROVAL: f"awaits approval, nothing was changed: {_would(steps)}; {problem}",
        Phase.DUPLICATE: f"duplicate, nothing was changed: {problem}",
        Phase.REJECTED: f"rejected, nothing was changed: {problem}",
        Phase.RELEASING: f"giving back {names}",
        Phase.RELEASED: f"given back: {_given_back(steps)}",
        Phase.RECOVERED: f"recovered, every check passed; given back: {_given_back(steps)}",
        Phase.CLOSED: f"closed; given back: {_given_back(steps)}",
    }.get(phase, "")
    if refused:
        text += f"; refused, tried again: {refused}"
    if text and incident.spec.exercise:
        proven = "" if rehearsed_in is None else f"plan proven in {span(rehearsed_in)}; "
        text = f"exercise: {proven}{text}"
    return text[:_MAX]


def shown(value: object) -> object:
    """How a field's value is told: in a word."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "something else" if isinstance(value, list | dict) else value


def _did(step: StepStatus) -> str:
    if step.evidence is not None:
        return ""  # told by its condition: it contains nothing
    values = [
        leaf
        for change in step.changes
        if change.object.uid == step.target.uid
        for field in change.fields
        if not field.path.startswith("/metadata/labels")
        for leaf in leaves(field)
    ]
    told = ", ".join(f"{leaf.name} {shown(leaf.before)}→{shown(leaf.after)}" for leaf in values)
    plain = not any(isinstance(leaf.before, list | dict) or isinstance(leaf.after, list) for leaf in values)
    effective = step.message if step.state is StepState.EFFECTIVE else ""
    return told if plain and told else effective


def _detected(names: str, steps: Sequence[StepStatus]) -> str:
    if any(step.state is StepState.EFFECTIVE for step in steps):
        return f"evidence of {names} is stored; nothing was changed"
    return f"dry run for {names}: {_would(steps)}; nothing was changed"


def _by_policy(plan: PlanStatus | None) -> str:
    policy = plan.policy if plan else None
    return f", as {policy} says mode: DryRun" if policy is not None and policy.dry_run else ""


def _would(steps: Sequence[StepStatus]) -> str:
    return "; ".join(step.message for step in steps) or "no step"


def _waiting(steps: Sequence[StepStatus]) -> str:
    return "; ".join(
        f"{step.target.name}: {step.message or step.reason}"
        for step in steps
        if step.state is not StepState.EFFECTIVE
    )


def _given_back(steps: Sequence[StepStatus]) -> str:
    told = "; ".join(
        f"{step.target.name}: {step.undo.message}" for step in steps if step.undo and step.undo.message
    )
    return told or "nothing had been changed"
