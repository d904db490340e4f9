"""What a policy's status says, from what was found. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from stanch.actions.order import too_late
from stanch.actions.registry import ACTIONS
from stanch.api.v1alpha1.incident import TargetKind
from stanch.api.v1alpha1.policy import (
    ContainmentPolicy,
    ContainmentPolicyStatus,
    DrillStatus,
    PolicyIncident,
    TriggerState,
    TriggerStatus,
)
from stanch.api.v1alpha1.steps import OnFailure
from stanch.policies.drilled import of_drill
from stanch.policies.schedule import wrong_with
from stanch.status import conditions
from stanch.status.conditions import Say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stanch.api.v1alpha1.policy import Trigger
    from stanch.api.v1alpha1.steps import Step
    from stanch.policies.drilled import Drilled
    from stanch.policies.match import Policy
    from stanch.signals.board import News

_LISTED = 20
_MOST_WORDS = 1024
NO_NEWS: Mapping[str, News] = MappingProxyType({})


@dataclass(frozen=True, slots=True, order=True)
class Matched:
    """A workload that the policy's selector matches and that nothing else controls."""

    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Found:
    """What is in the cluster for one policy."""

    workloads: frozenset[Matched] = frozenset()
    incidents: tuple[PolicyIncident, ...] = ()
    protected: frozenset[str] = frozenset()
    """Namespaces in which nothing is ever contained."""
    drilled: tuple[Drilled, ...] = ()
    """Incidents that may be exercises of its drills."""


@dataclass(frozen=True, slots=True)
class Problem:
    reason: str
    message: str


def status_of(
    policy: Policy, found: Found, now: datetime, news: Mapping[str, News] = NO_NEWS
) -> ContainmentPolicyStatus:
    """The whole status. `news`: what is known of triggers, by their names."""
    problem, tally = impossible(policy, found), _tally(policy, found)
    generation = policy.metadata.generation
    if problem is not None:
        ready = Say(conditions.READY, "False", problem.reason, problem.message)
    elif policy.spec.suspend:
        ready = Say(conditions.READY, "True", "Suspended", f"takes on no new incident; {tally}")
    else:
        ready = Say(conditions.READY, "True", "PlanPossible", tally)
    said = [
        ready,
        Say(conditions.RECONCILING, "False", "Observed"),
        Say(conditions.STALLED, "True", problem.reason, problem.message)
        if problem is not None
        else Say(conditions.STALLED, "False", "Observed"),
    ]
    return ContainmentPolicyStatus(
        observed_generation=generation,
        matched_workloads=len(found.workloads),
        workloads=tuple(str(workload) for workload in sorted(found.workloads)[:_LISTED]),
        active_incidents=len(found.incidents),
        incidents=tuple(sorted(found.incidents, key=lambda one: (one.namespace, one.name))[:_LISTED]),
        conditions=conditions.merge(policy.status.conditions, said, generation, now),
        triggers=_triggers(policy, news),
        drills=_drills(policy, found.drilled),
    )


def _drills(policy: Policy, drilled: Sequence[Drilled]) -> tuple[DrillStatus, ...]:
    """Of each drill of the spec the newest exercise; one that was deleted since stands as it was told."""
    told = {one.name: one for one in policy.status.drills}
    shown = []
    for drill in policy.spec.drills:
        mine = [_drill(one, drill.name) for one in drilled if of_drill(one, policy, drill.name)]
        before = told.get(drill.name)
        newest = max([*mine, *([before] if before is not None else [])], key=lambda one: one.at, default=None)
        if newest is not None:
            shown.append(next((one for one in mine if one.incident == newest.incident), newest))
    return tuple(shown)


def _drill(one: Drilled, name: str) -> DrillStatus:
    return DrillStatus(
        name=name,
        at=one.metadata.creation_timestamp or datetime.min.replace(tzinfo=UTC),
        incident=f"{one.metadata.namespace}/{one.metadata.name}",
        phase=one.status.phase,
        message=one.status.summary,
    )


def _triggers(policy: Policy, news: Mapping[str, News]) -> tuple[TriggerStatus, ...]:
    """Those of the spec, in its order; what nobody has news of stands as it was told before."""
    told = {one.name: one for one in policy.status.triggers}
    return tuple(
        _trigger(told.get(trigger.name) or _unheard(trigger), news.get(trigger.name))
        for trigger in policy.spec.triggers
    )


def _unheard(trigger: Trigger) -> TriggerStatus:
    waits = "no alert has come yet" if trigger.alert is not None else "not evaluated yet"
    return TriggerStatus(name=trigger.name, state=TriggerState.INACTIVE, message=waits)


def _trigger(told: TriggerStatus, news: News | None) -> TriggerStatus:
    if news is None:
        return told
    known: dict[str, object] = {}
    if news.last_signal_at is not None:
        known |= {"last_signal_at": news.last_signal_at, "last_signal": _clipped(news.last_signal)}
    if news.state is not None:
        known |= {"state": news.state, "message": _clipped(news.message)}
    elif news.last_signal_at is not None and told.state is not TriggerState.ACTIVE:
        # Nothing else tells of a trigger that only the receiver hears of.
        known |= {"state": TriggerState.ACTIVE, "message": "alerts come"}
    return told.model_copy(update=known)


def _clipped(text: str) -> str | None:
    return (text if len(text) <= _MOST_WORDS else text[: _MOST_WORDS - 1] + "…") or None


def _tally(policy: Policy, found: Found) -> str:
    parts = [f"selects {_count(len(found.workloads), 'workload')}"]
    if found.incidents:
        parts.append(f"{_count(len(found.incidents), 'active incident')}")
    earlier = [one for one in found.incidents if one.generation != policy.metadata.generation or one.replaced]
    if earlier:
        parts.append(
            f"{len(earlier)} of them by an earlier generation than {policy.metadata.generation}: "
            "an incident keeps the plan it began with"
        )
    return ", ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def impossible(policy: Policy, found: Found) -> Problem | None:
    """Why every incident, or every one about a kind that is selected, would be rejected."""
    namespace = policy.metadata.namespace
    if isinstance(policy, ContainmentPolicy) and namespace in found.protected:
        return Problem(
            "NamespaceProtected",
            f"namespace {namespace} is protected by the operator's settings; nothing in it is contained",
        )
    actions = [step.member.action if step.member else "" for step in policy.spec.steps]
    unknown = next((place for place, action in enumerate(actions) if action not in ACTIONS), None)
    if unknown is not None:
        return Problem(
            "UnknownStep", f"spec.steps[{unknown}] is newer than this operator; upgrade the operator"
        )
    twice = next((action for action in actions if actions.count(action) > 1), None)
    if twice is not None:
        return Problem("DuplicateStep", f"{twice} stands in spec.steps more than once; once is enough")
    wrong = too_late(policy.spec.steps)
    if wrong:
        return Problem("StepTooLate", wrong)
    unreadable = next((drill for drill in policy.spec.drills if wrong_with(drill.schedule)), None)
    if unreadable is not None:
        return Problem(
            "BadSchedule",
            f"drill {unreadable.name} is never made: schedule {unreadable.schedule!r}: "
            f"{wrong_with(unreadable.schedule)}",
        )
    kinds = policy.spec.selector.kinds or sorted({TargetKind(one.kind) for one in found.workloads})
    return next((problem for kind in kinds if (problem := _unsuitable(policy.spec.steps, kind))), None)


def _unsuitable(steps: Sequence[Step], kind: TargetKind) -> Problem | None:
    """As an incident is rejected: a required step cannot be done, or nothing is left that contains."""
    refused = [place for place, step in enumerate(steps) if not _can(step, kind)]
    required = [
        place
        for place in refused
        if not steps[place].optional and steps[place].on_failure is not OnFailure.CONTINUE
    ]
    contains = [place for place, step in enumerate(steps) if ACTIONS[_action(step)].essential]
    if not required and not (contains and set(contains) <= set(refused)):
        return None
    place = (required or refused)[0]
    return Problem(
        "StepImpossible",
        f"spec.steps[{place}]: {_action(steps[place])} cannot be done to a {kind}, so every incident about "
        "one would be rejected; take the kind out of spec.selector.kinds, or give it a policy of its own",
    )


def _action(step: Step) -> str:
    return step.member.action if step.member else ""


def _can(step: Step, kind: TargetKind) -> bool:
    return kind in ACTIONS[_action(step)].kinds
