"""Deciding what containing an incident needs next. Pure.

The order is the promise: try out, then record (status), then hold, then change, then judge what is seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.actions.registry import ACTIONS
from stanch.api.v1alpha1.hold import HeldEntry, Rule, hold_key
from stanch.api.v1alpha1.incident import FINALIZER, AIIncident
from stanch.api.v1alpha1.plan import PlannedStep, PlanStatus
from stanch.api.v1alpha1.status import StepState, StepStatus
from stanch.api.v1alpha1.steps import OnFailure
from stanch.holds import entries as holds
from stanch.incidents.acts import Act, AddFinalizer, Decision, EnsureHold, RemoveFinalizer
from stanch.incidents.facts import Facts, Item, Limits, items_of, only_looks, settled
from stanch.incidents.gate import Gate, passed
from stanch.incidents.journal import FAILED, Progress, Turn, advance, next_turn
from stanch.incidents.record import key_of, ref_of
from stanch.incidents.refusals import SAME_KEY, Rejection, duplicate, inadmissible, refusal, source, too_large
from stanch.incidents.story import Told, tell
from stanch.plans.hash import plan_hash
from stanch.status import conditions
from stanch.status.phase import Course

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from stanch.api.v1alpha1.hold import Held
    from stanch.api.v1alpha1.incident import Target
    from stanch.api.v1alpha1.status import StepStatus

_AT_ONCE = 3
_SLOWEST_PUTTING_RIGHT = 30.0
PLAN_AGAIN_SECONDS = 300.0
"""How old a plan that awaits approval may get before it is made anew. An approval has it made at once."""
_STOPPED = hold_key(Rule.STOPPED, "")


def decide(facts: Facts, now: datetime, limits: Limits) -> Decision:
    incident = facts.incident
    if _was_rejected(incident):
        return Decision(acts=_unbind(incident))
    items = items_of(incident, evidence=limits.evidence, policy=facts.policy)
    wrong = duplicate(facts) or inadmissible(facts, items, limits)
    if wrong:
        return _reject(facts, wrong, (), None, now)
    progress = _in_turn(facts, items, now)
    plan = _plan(facts, items, progress)
    wrong = refusal(facts, items, progress)
    if wrong:
        return _reject(facts, wrong, progress, plan, now)
    tries = tuple(attempt for step in progress for attempt in step.tries)
    if tries:
        return Decision(acts=tries)
    gate = passed(facts, plan, now, limits)
    if only_looks(facts) or gate.waits:
        return _show(facts, progress, plan, gate, now)
    return _go_on(facts, items, progress, plan, gate, now, limits)


def _go_on(  # noqa: PLR0913, PLR0917 - what was found, and what the decision is a function of
    facts: Facts,
    items: Sequence[Item],
    progress: Sequence[Progress],
    plan: PlanStatus,
    gate: Gate,
    now: datetime,
    limits: Limits,
) -> Decision:
    if FINALIZER not in facts.incident.metadata.finalizers:
        return Decision(acts=(AddFinalizer(),))
    keys = {item.id: keys_of(facts, item, step, now) for item, step in zip(items, progress, strict=True)}
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
            gate=gate,
        ),
        now,
    )
    wrong = too_large(facts.incident, told)
    if wrong:
        return _reject(facts, wrong, (), None, now)
    acts: list[Act] = [] if hold_stands else [EnsureHold(wanted_hold(facts, keys.values(), now))]
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


def _so_far(facts: Facts, entry: StepStatus) -> StepStatus:
    """Before our own hold stands, what another incident holds down may be given back any moment."""
    applied = any(old.id == entry.id and old.applied_at is not None for old in facts.incident.status.steps)
    if applied or entry.state not in (StepState.APPLIED, StepState.EFFECTIVE):
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


def _plan(facts: Facts, items: Sequence[Item], progress: Sequence[Progress]) -> PlanStatus:
    """The plan as it was first made; what was made of each target later is in the journal."""
    standing = facts.incident.status.plan
    written = any(entry.state is not StepState.PLANNED for entry in facts.incident.status.steps)
    if standing is not None and written and settled(facts.incident):
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
    return PlanStatus(hash=name, source=source(facts), policy=policy, steps=steps)


def _standing(facts: Facts) -> frozenset[str]:
    """What is denied for this incident as long as it wants it denied."""
    ours = holds.held_by(facts.held, facts.name).items()
    # What a release that failed was about to give back is not held again yet.
    standing = (key for key, entry in ours if entry.giving_back is None)
    return frozenset(standing) if facts.holding else frozenset()


def wanted_hold(facts: Facts, keys: Iterable[frozenset[str]], now: datetime) -> Held:
    spec = facts.incident.spec
    new = HeldEntry.of(facts.name, f"{spec.severity}, {spec.category}", now)
    return {key: new for one in keys for key in sorted(one)} | holds.held_by(facts.held, facts.name)


def keys_of(facts: Facts, item: Item, step: Progress, now: datetime) -> frozenset[str]:
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


def _show(
    facts: Facts, progress: Sequence[Progress], plan: PlanStatus, gate: Gate, now: datetime
) -> Decision:
    """A dry run, or what a person is to approve: the plan with its diff, and nothing else is written."""
    if only_looks(facts):
        steps = _shown(progress, "DryRun")
        told = Told(steps=steps, plan=plan, course=Course(dry_run=True), gate=gate.rehearsed())
        return Decision(tell(facts, told, now))
    told = Told(
        steps=_shown(progress, conditions.AWAITING_APPROVAL),
        plan=plan,
        course=Course(awaiting=True),
        problem=gate.why,
        gate=gate,
    )
    return Decision(tell(facts, told, now), look_again=PLAN_AGAIN_SECONDS)


def _shown(progress: Sequence[Progress], reason: str) -> tuple[StepStatus, ...]:
    return tuple(
        step.entry.model_copy(
            update={
                "state": StepState.PLANNED,
                "reason": reason,
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
        course=Course(rejected=True, duplicate=rejection.reason == SAME_KEY),
        problem=rejection.message,
        reason=rejection.reason,
    )
    return Decision(tell(facts, told, now), _unbind(facts.incident))


def _unbind(incident: AIIncident) -> tuple[Act, ...]:
    """What was rejected has changed nothing: its deletion need not wait for anything."""
    return (RemoveFinalizer(),) if FINALIZER in incident.metadata.finalizers else ()
