"""Deciding what containing an incident needs next. Pure.

The order is the promise: try out, then record (status), then hold, then change, then judge what is seen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stanch.actions.order import too_late
from stanch.actions.registry import ACTIONS
from stanch.api.v1alpha1.hold import HeldEntry, Rule, hold_key
from stanch.api.v1alpha1.incident import FINALIZER, AIIncident
from stanch.api.v1alpha1.status import PlannedStep, PlanStatus, StepState, StepStatus
from stanch.api.v1alpha1.steps import OnFailure
from stanch.holds import entries as holds
from stanch.incidents.facts import (
    BUILT_IN,
    INLINE,
    Act,
    AddFinalizer,
    Decision,
    EnsureHold,
    Facts,
    Item,
    Limits,
    RemoveFinalizer,
    items_of,
    only_looks,
    settled,
)
from stanch.incidents.journal import FAILED, Progress, Turn, advance, next_turn
from stanch.incidents.record import key_of, ref_of
from stanch.incidents.story import Told, tell
from stanch.plans.hash import plan_hash
from stanch.status import conditions
from stanch.status.phase import Course

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from stanch.api.v1alpha1.hold import Held
    from stanch.api.v1alpha1.incident import Target
    from stanch.api.v1alpha1.status import AIIncidentStatus, StepStatus

_AT_ONCE = 3
_LARGEST_STATUS = 512 * 1024
_SLOWEST_PUTTING_RIGHT = 30.0
_STOPPED = hold_key(Rule.STOPPED, "")


@dataclass(frozen=True, slots=True)
class Rejection:
    reason: str
    message: str


def decide(facts: Facts, now: datetime, limits: Limits) -> Decision:
    incident = facts.incident
    if _was_rejected(incident):
        return Decision(acts=_unbind(incident))
    items = items_of(incident, evidence=limits.evidence, policy=facts.policy)
    rejection = _inadmissible(facts, items, limits)
    if rejection:
        return _reject(facts, rejection, (), None, now)
    progress = _in_turn(facts, items, now)
    plan = _plan(facts, items, progress)
    rejection = _refusal(facts, items, progress)
    if rejection:
        return _reject(facts, rejection, progress, plan, now)
    tries = tuple(attempt for step in progress for attempt in step.tries)
    if only_looks(facts):
        return Decision(acts=tries) if tries else _show(facts, progress, plan, now)
    if tries:
        return Decision(acts=tries)
    return _go_on(facts, items, progress, plan, now, limits)


def _go_on(  # noqa: PLR0913, PLR0917 - what was found, and what the decision is a function of
    facts: Facts,
    items: Sequence[Item],
    progress: Sequence[Progress],
    plan: PlanStatus,
    now: datetime,
    limits: Limits,
) -> Decision:
    if FINALIZER not in facts.incident.metadata.finalizers:
        return Decision(acts=(AddFinalizer(),))
    keys = {item.id: _keys(facts, item, step, now) for item, step in zip(items, progress, strict=True)}
    mine = _standing(facts)
    hold_stands = all(one <= mine for one in keys.values())
    told = tell(
        facts,
        Told(
            steps=tuple(
                step.entry if keys[step.entry.id] <= mine else _so_far(facts, step.entry) for step in progress
            ),
            plan=plan,
            course=Course(),
            hold_stands=all(keys[step.entry.id] <= mine for step in progress if not step.begins),
            contests=(*facts.contests, *(contest for step in progress for contest in step.contests)),
        ),
        now,
    )
    too_large = _too_large(facts.incident, told)
    if too_large:
        return _reject(facts, too_large, (), None, now)
    acts: list[Act] = [] if hold_stands else [EnsureHold(_wanted_hold(facts, keys.values(), now))]
    waits = [_putting_right_waits(step, now) for step in progress]
    acts += [act for step, wait in zip(progress, waits, strict=True) if wait <= 0 for act in step.changing]
    acts += [act for step in progress for act in step.acts]
    looks = [step.look_again for step in progress if step.look_again is not None]
    waiting = [wait for wait in waits if wait > 0]
    again = any(_gives_up(item, step.entry) for item, step in zip(items, progress, strict=True))
    return Decision(
        told, () if again else tuple(acts), min([*looks, *waiting, limits.rejudge_seconds]), again
    )


def _gives_up(item: Item, entry: StepStatus) -> bool:
    """A step that failed, of a plan that is to be given back when it does."""
    failed = entry.state in FAILED and not entry.optional
    return failed and item.step.on_failure is OnFailure.RELEASE


def gave_up(incident: AIIncident) -> bool:
    """Whether the stored journal says so: from then on the incident is released."""
    entries = {entry.id: entry for entry in incident.status.steps}
    return any(item.id in entries and _gives_up(item, entries[item.id]) for item in items_of(incident))


def _in_turn(facts: Facts, items: Sequence[Item], now: datetime) -> list[Progress]:
    """Steps on one target in the order of the plan; targets do not wait for each other."""
    turns: dict[Target, Turn] = {}
    progress = []
    for item in items:
        turn = turns.get(item.target, Turn.OPEN)
        step = advance(item, ACTIONS[item.action], facts, now, turn)
        turns[item.target] = next_turn(turn, item, step.entry)
        progress.append(step)
    return progress


def _too_large(incident: AIIncident, told: AIIncidentStatus) -> Rejection | None:
    """Before anything is written: what the record takes, and a half more for what will be told in it."""
    size = len(json.dumps(told.wire(), ensure_ascii=False).encode())
    if incident.status.steps or size <= _LARGEST_STATUS * 2 // 3:
        return None
    return Rejection(
        "PlanTooLarge",
        f"the undo records of this plan take {size // 1024} KiB, and with what will be told of it more "
        f"than the {_LARGEST_STATUS // 1024} KiB that a status may have; name fewer targets in one incident",
    )


def _so_far(facts: Facts, entry: StepStatus) -> StepStatus:
    """Before our own hold stands, what another incident holds down may be given back any moment."""
    begun = any(old.id == entry.id and old.applied_at is not None for old in facts.incident.status.steps)
    if begun or entry.state not in (StepState.APPLIED, StepState.EFFECTIVE):
        return entry
    waiting = {"state": StepState.RECORDED, "reason": "HoldPending", "message": "the hold is not written yet"}
    return entry.model_copy(update=waiting | {"applied_at": None, "effective_at": None})


def _was_rejected(incident: AIIncident) -> bool:
    """A rejection stands until the spec changes: nothing is retried that cannot succeed."""
    accepted = conditions.find(incident.status.conditions, conditions.ACCEPTED)
    return (
        accepted is not None
        and accepted.status == "False"
        and accepted.observed_generation == incident.metadata.generation
    )


def _inadmissible(facts: Facts, items: Sequence[Item], limits: Limits) -> Rejection | None:
    namespace = facts.incident.metadata.namespace
    if namespace in limits.protected_namespaces:
        return Rejection(
            "NamespaceProtected",
            f"namespace {namespace} is protected by the operator's settings; nothing in it is contained",
        )
    no_choice = facts.choice.refusal
    if no_choice is not None and not settled(facts.incident):
        return Rejection(no_choice.reason, no_choice.message)
    ref = facts.incident.spec.policy_ref
    if ref is not None and facts.policy is None:  # never the built-in plan in its place
        return Rejection("PolicyNotFound", f"spec.policyRef: there is no {ref.kind} {ref.name}")
    unknown = [item.id for item in items if item.action not in ACTIONS]
    if unknown:
        return Rejection(
            "UnknownStep", f"step {unknown[0]} is newer than this operator; upgrade the operator"
        )
    actions = [item.action for item in items if item.target == facts.incident.spec.targets[0]]
    twice = next((action for action in actions if actions.count(action) > 1), None)
    if twice:
        return Rejection(
            "DuplicateStep", f"{twice} stands in {_source(facts)} more than once; once is enough"
        )
    wrong = too_late([item.step for item in items if item.target == facts.incident.spec.targets[0]])
    return Rejection("StepTooLate", wrong) if wrong else None


def _refusal(facts: Facts, items: Sequence[Item], progress: Sequence[Progress]) -> Rejection | None:
    """A refused step that the plan does not go on without, before anything was written."""
    if any(entry.changes for entry in facts.incident.status.steps):
        return None
    refused = [
        (item, step.entry)
        for item, step in zip(items, progress, strict=True)
        if step.entry.state is StepState.REFUSED
    ]
    needed = [
        (item, entry)
        for item, entry in refused
        if not entry.optional and item.step.on_failure is not OnFailure.CONTINUE
    ]
    essential = [item for item in items if ACTIONS[item.action].essential] or items
    nothing_left = {item.id for item in essential} <= {item.id for item, _ in refused}
    if not needed and not nothing_left:
        return None
    item, entry = (needed or refused)[0]
    return Rejection(
        entry.reason,
        f"{entry.action} of {item.target.kind} {facts.incident.metadata.namespace}/{item.target.name}: "
        f"{entry.message}",
    )


def _plan(facts: Facts, items: Sequence[Item], progress: Sequence[Progress]) -> PlanStatus:
    """The plan as it was first made; what was made of each target later is in the journal."""
    standing = facts.incident.status.plan
    begun = any(entry.state is not StepState.PLANNED for entry in facts.incident.status.steps)
    if standing is not None and begun and settled(facts.incident):
        return standing
    steps = tuple(
        PlannedStep(
            id=item.id,
            action=item.action,
            target=f"{item.target.kind}/{item.target.name}",
            diff=step.diff,
        )
        for item, step in zip(items, progress, strict=True)
    )
    policy = facts.policy
    from_policy = policy.steps if policy is not None and not facts.incident.spec.steps else ()
    name = plan_hash(steps, from_policy)
    return PlanStatus(hash=name, source=_source(facts), policy=policy, steps=steps)


def _source(facts: Facts) -> str:
    policy = facts.policy
    if facts.incident.spec.steps:
        return INLINE
    return f"{policy} generation {policy.generation}" if policy is not None else BUILT_IN


def _standing(facts: Facts) -> frozenset[str]:
    """What is denied for this incident as long as it wants it denied."""
    return frozenset(holds.held_by(facts.held, facts.name)) if facts.holding else frozenset()


def _wanted_hold(facts: Facts, keys: Iterable[frozenset[str]], now: datetime) -> Held:
    spec = facts.incident.spec
    new = HeldEntry.of(facts.name, f"{spec.severity}, {spec.category}", now)
    return {key: new for one in keys for key in sorted(one)} | holds.held_by(facts.held, facts.name)


def _keys(facts: Facts, item: Item, step: Progress, now: datetime) -> frozenset[str]:
    """How the hold names what a step wants denied.

    A step that waits has stopped nothing yet, and the one before it may have to start pods, of the version
    that it rolls back to: until then what will be stopped is only kept from being deleted and made again.
    """
    if step.entry.state in {StepState.REFUSED, StepState.SKIPPED}:
        return frozenset()
    ask = facts.ask(item, step.entry, now)
    keys = {
        hold_key(
            Rule.KEPT if step.waits and change.rule is Rule.STOPPED else change.rule,
            key_of(ref_of(change.object, ask.namespace), ask.namespace),
        )
        for change in step.entry.changes
    }
    keys |= {hold_key(Rule.CONDEMNED, version) for version in step.entry.condemned}
    more = ACTIONS[item.action].hold(facts.observations[item.id], ask)
    return frozenset(keys | {key for key in more if not (step.waits and key.startswith(_STOPPED))})


def _putting_right_waits(step: Progress, now: datetime) -> float:
    """Seconds to wait before putting right what is changed again and again; none the first few times."""
    again = step.entry.attempts - _AT_ONCE
    if not step.changing or step.entry.contested_at is None or again <= 0:
        return 0.0
    pause = min(2.0 ** min(again, 10), _SLOWEST_PUTTING_RIGHT)
    return pause - (now - step.entry.contested_at).total_seconds()


def _show(facts: Facts, progress: Sequence[Progress], plan: PlanStatus, now: datetime) -> Decision:
    """A dry run: the plan with its diff, and nothing written but this status."""
    steps = tuple(
        step.entry.model_copy(
            update={
                "state": StepState.PLANNED,
                "reason": "DryRun",
                "message": _would(step),
                "changes": (),
                "condemned": (),
                "started_at": None,
                "applied_at": None,
                "effective_at": None,
            }
        )
        if step.entry.state is not StepState.REFUSED
        else step.entry
        for step in progress
    )
    return Decision(tell(facts, Told(steps=steps, plan=plan, course=Course(dry_run=True)), now))


def _would(step: Progress) -> str:
    name = step.entry.target.name
    if not step.diff:
        return f"{step.entry.action} of {name} would change nothing"
    return f"would change {name}: {'; '.join(step.diff)}"


def _reject(
    facts: Facts,
    rejection: Rejection,
    progress: Sequence[Progress],
    plan: PlanStatus | None,
    now: datetime,
) -> Decision:
    refused = tuple(step.entry for step in progress if step.entry.state is StepState.REFUSED)
    told = Told(
        steps=refused,
        plan=plan,
        course=Course(rejected=True),
        problem=f"{rejection.message}",
        reason=rejection.reason,
    )
    return Decision(tell(facts, told, now), _unbind(facts.incident))


def _unbind(incident: AIIncident) -> tuple[Act, ...]:
    """What was rejected has changed nothing: its deletion need not wait for anything."""
    return (RemoveFinalizer(),) if FINALIZER in incident.metadata.finalizers else ()
