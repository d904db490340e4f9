"""Where an incident stands: is it stopped, does it stay so, what is left to do. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stanch.api.v1alpha1.incident import DesiredState, Mode, Severity
from stanch.api.v1alpha1.recovery import ReleaseStage
from stanch.api.v1alpha1.status import CONTAINS, ENDED, Phase
from stanch.status import conditions

if TYPE_CHECKING:
    from datetime import timedelta

    from stanch.api.v1alpha1.incident import AIIncident

PENDING = "HoldPending"
"""Reason of `Held` while the hold is about to be written."""

_URGENCY = (
    Phase.CONTAINMENT_FAILED,
    Phase.PARTIALLY_CONTAINED,
    Phase.AWAITING_APPROVAL,
    None,
    Phase.CONTAINING,
    Phase.REJECTED,
    Phase.CONTAINED,
    Phase.RELEASING,
    Phase.DETECTED,
    Phase.RELEASED,
    Phase.RECOVERED,
    Phase.DUPLICATE,
    Phase.CLOSED,
)
_SEVERITIES = tuple(Severity)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True)
class Next:
    """What is left for a person to do: `word` fits a column, `told` says how."""

    word: str
    told: str


def where_of(incident: AIIncident) -> str:
    return f"-n {incident.metadata.namespace} {incident.metadata.name}"


def is_rehearsal(incident: AIIncident) -> bool:
    """Whether it shows a plan and changes nothing."""
    spec, plan = incident.spec, incident.status.plan
    drilled = spec.exercise and not spec.exercise_enforce
    by_policy = plan is not None and plan.policy is not None and plan.policy.dry_run
    return spec.mode is Mode.DRY_RUN or drilled or by_policy


def is_asked_back(incident: AIIncident) -> bool:
    """Whether somebody wants the workload given back."""
    return (
        incident.spec.desired_state is DesiredState.RELEASED
        or incident.metadata.deletion_timestamp is not None
    )


def failed_release(incident: AIIncident) -> bool:
    """Whether it is contained again since the release that was asked for last failed."""
    release = incident.status.release
    return (
        release is not None
        and release.stage is ReleaseStage.FAILED
        and incident.status.phase in CONTAINS - {Phase.RELEASING}
    )


def _given_up(incident: AIIncident) -> bool:
    """Whether the release that is asked for now has failed: each generation of the spec asks anew."""
    release = incident.status.release
    return (
        failed_release(incident)
        and release is not None
        and release.generation == incident.metadata.generation
    )


def held(incident: AIIncident) -> str:
    """`True`, `False` or `Unknown`, as the condition says; empty before it says anything."""
    condition = conditions.find(incident.status.conditions, conditions.HELD)
    return condition.status if condition is not None else ""


def at_rest(incident: AIIncident) -> bool:
    """Whether nothing happens any more until somebody does something."""
    meta, status = incident.metadata, incident.status
    if status.phase is None or status.observed_generation != meta.generation:
        return False
    if status.phase in ENDED:
        return meta.deletion_timestamp is None
    if is_asked_back(incident) and not _given_up(incident):
        return False
    if status.phase is Phase.DETECTED:
        return is_rehearsal(incident) and status.plan is not None
    return status.phase not in {Phase.CONTAINING, Phase.RELEASING} and not _hold_pending(incident)


def _hold_pending(incident: AIIncident) -> bool:
    condition = conditions.find(incident.status.conditions, conditions.HELD)
    return condition is None or condition.reason == PENDING


def next_of(incident: AIIncident) -> Next:  # noqa: C901, PLR0911 - one line a situation reads best
    """What a person has to do now."""
    where = where_of(incident)
    match incident.status.phase:
        case None:
            return Next(
                "look", f"no operator has looked at it yet; see: kubectl stanch doctor {_space(incident)}"
            )
        case Phase.AWAITING_APPROVAL:
            return Next("approve", f"read its plan, and approve it: kubectl stanch approve {where}")
        case Phase.CONTAINED if held(incident) == "False":
            return Next("hold", "it is NOT held: whoever may can undo it; see: kubectl stanch doctor")
        case Phase.CONTAINED | Phase.PARTIALLY_CONTAINED if failed_release(incident):
            return Next(
                "cause", f"the release failed; find out why, then try again: kubectl stanch release {where}"
            )
        case Phase.CONTAINED:
            return Next("release", f"once the cause is gone, give it back: kubectl stanch release {where}")
        case Phase.CONTAINMENT_FAILED | Phase.PARTIALLY_CONTAINED:
            return Next("steps", "a step has no effect: see what it says, and put that right")
        case Phase.REJECTED:
            return Next("correct", "nothing was done: see condition Accepted, and create a correct one")
        case Phase.RELEASED | Phase.RECOVERED:
            return Next("close", f"write down what was learnt: kubectl stanch close {where}")
        case Phase.DETECTED if is_rehearsal(incident):
            return Next("", "nothing was changed, and nothing will be")
        case Phase.CONTAINING | Phase.RELEASING | Phase.DETECTED:
            return Next("wait", f"it is being worked on: kubectl stanch status {where} --watch")
        case Phase.DUPLICATE | Phase.CLOSED:
            return Next("", "")


def _space(incident: AIIncident) -> str:
    return f"-n {incident.metadata.namespace}"


def urgency(incident: AIIncident) -> tuple[int, int, str, str]:
    """What needs somebody first comes first; among equals the more severe."""
    meta = incident.metadata
    unheld = incident.status.phase is Phase.CONTAINED and held(incident) == "False"
    rank = -1 if unheld else _URGENCY.index(incident.status.phase)
    return rank, _SEVERITIES.index(incident.spec.severity), meta.namespace, meta.name


def age(duration: timedelta) -> str:
    """As kubectl's AGE: `40s`, `3m`, `5h`, `2d`."""
    seconds = max(int(duration.total_seconds()), 0)
    if seconds < 2 * _MINUTE:
        return f"{seconds}s"
    if seconds < 2 * _HOUR:
        return f"{seconds // _MINUTE}m"
    return f"{seconds // _HOUR}h" if seconds < 2 * _DAY else f"{seconds // _DAY}d"
